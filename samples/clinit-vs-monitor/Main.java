// SPDX-License-Identifier: Apache-2.0
import common.Ready;
import java.util.concurrent.CountDownLatch;

/** A static initializer needs a monitor whose owner needs the class that is being initialized. */
public final class Main {
  static final class Settings {
    static final int TIMEOUT;

    static {
      inInitializer.countDown();
      await(lockTaken);
      synchronized (STORE) {
        TIMEOUT = STORE.hashCode();
      }
    }

    static int timeout() {
      return TIMEOUT;
    }
  }

  static final class Store {}

  static final Store STORE = new Store();
  static final CountDownLatch inInitializer = new CountDownLatch(1);
  static final CountDownLatch lockTaken = new CountDownLatch(1);

  private Main() {}

  static void await(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  static void saveLoop() {
    synchronized (STORE) {
      lockTaken.countDown();
      await(inInitializer);
      System.out.println(Settings.timeout());
    }
  }

  public static void main(String[] args) throws InterruptedException {
    Thread settings = new Thread(() -> System.out.println(Settings.timeout()), "settings-loader");
    Thread saver = new Thread(Main::saveLoop, "store-saver");
    settings.start();
    saver.start();
    Ready.whenStuck(settings, saver);
    settings.join();
    saver.join();
  }
}
