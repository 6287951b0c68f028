// SPDX-License-Identifier: Apache-2.0
import common.Ready;
import java.util.concurrent.CountDownLatch;

/** The classic: two threads take two monitors in opposite order; a third waits behind them. */
public final class Main {
  static final class Account {
    private long cents = 1000;

    void transferTo(Account other, long amount, CountDownLatch bothHoldOne) {
      synchronized (this) {
        await(bothHoldOne);
        synchronized (other) {
          cents -= amount;
          other.cents += amount;
        }
      }
    }

    synchronized long balance() {
      return cents;
    }
  }

  private Main() {}

  static void await(CountDownLatch latch) {
    latch.countDown();
    try {
      latch.await();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  public static void main(String[] args) throws InterruptedException {
    Account alice = new Account();
    Account bob = new Account();
    CountDownLatch bothHoldOne = new CountDownLatch(2);
    Thread there = new Thread(() -> alice.transferTo(bob, 5, bothHoldOne), "transfer-alice-to-bob");
    Thread back = new Thread(() -> bob.transferTo(alice, 7, bothHoldOne), "transfer-bob-to-alice");
    Thread auditor = new Thread(() -> System.out.println(alice.balance()), "auditor");
    there.start();
    back.start();
    bothHoldOne.await();
    auditor.start();
    Ready.whenStuck(there, back, auditor);
    there.join();
    back.join();
  }
}
