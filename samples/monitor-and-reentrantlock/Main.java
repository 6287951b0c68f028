// SPDX-License-Identifier: Apache-2.0
import common.Ready;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.locks.ReentrantLock;

/** A cycle through a monitor and a ReentrantLock. */
public final class Main {
  static final class Index {}

  private static final Index index = new Index();
  private static final ReentrantLock journal = new ReentrantLock();
  private static final CountDownLatch bothHoldOne = new CountDownLatch(2);

  private Main() {}

  static void meet() {
    bothHoldOne.countDown();
    try {
      bothHoldOne.await();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  static void indexThenJournal() {
    synchronized (index) {
      meet();
      journal.lock();
      journal.unlock();
    }
  }

  static void journalThenIndex() {
    journal.lock();
    try {
      meet();
      synchronized (index) {
        System.out.println("never");
      }
    } finally {
      journal.unlock();
    }
  }

  public static void main(String[] args) throws InterruptedException {
    Thread indexer = new Thread(Main::indexThenJournal, "indexer");
    Thread flusher = new Thread(Main::journalThenIndex, "journal-flusher");
    indexer.start();
    flusher.start();
    bothHoldOne.await();
    Thread late = new Thread(Main::journalThenIndex, "journal-rotator");
    late.start();
    Ready.whenStuck(indexer, flusher, late);
    indexer.join();
    flusher.join();
  }
}
