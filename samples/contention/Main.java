// SPDX-License-Identifier: Apache-2.0
import common.Ready;

/** No deadlock: five workers queue behind one thread that sleeps while it holds a monitor. */
public final class Main {
  static final class Cache {
    synchronized void refresh() {
      while (true) {
        try {
          Thread.sleep(3_600_000L);
        } catch (InterruptedException e) {
          return;
        }
      }
    }

    synchronized String get() {
      return "value";
    }
  }

  private Main() {}

  public static void main(String[] args) throws InterruptedException {
    Cache cache = new Cache();
    Thread refresher = new Thread(cache::refresh, "cache-refresher");
    refresher.start();
    while (refresher.getState() != Thread.State.TIMED_WAITING) {
      Thread.yield();
    }
    Thread[] workers = new Thread[5];
    for (int i = 0; i < workers.length; i++) {
      workers[i] = new Thread(cache::get, "http-worker-" + (i + 1));
      workers[i].start();
    }
    Ready.whenStuck(workers);
    refresher.join();
  }
}
