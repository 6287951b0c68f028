// SPDX-License-Identifier: Apache-2.0
import common.Ready;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;

/** Busy and contended, but correct: nested monitors in one order, locks, a queue, an idle pool. */
public final class Main {
  private static final Map<Integer, Integer> table = new HashMap<>();
  private static final Object first = new Object();
  private static final Object second = new Object();
  private static final ReentrantLock lock = new ReentrantLock();
  private static final ReentrantReadWriteLock readWrite = new ReentrantReadWriteLock();
  private static final BlockingQueue<Integer> queue = new ArrayBlockingQueue<>(4);
  private static volatile long sink;

  private Main() {}

  /** A short piece of work; now and then the thread gives the processor away inside a lock. */
  static void work() {
    long sum = 0;
    for (int i = 0; i < 200; i++) {
      sum += Integer.toString(i).hashCode();
    }
    sink += sum;
    if (ThreadLocalRandom.current().nextInt(8) == 0) {
      LockSupport.parkNanos(200_000);
    }
  }

  private static void monitors() {
    synchronized (first) {
      work();
      synchronized (second) {
        table.merge(ThreadLocalRandom.current().nextInt(100), 1, Integer::sum);
      }
    }
  }

  private static void locks() {
    lock.lock();
    try {
      work();
      readWrite.writeLock().lock();
      try {
        sink++;
      } finally {
        readWrite.writeLock().unlock();
      }
    } finally {
      lock.unlock();
    }
  }

  private static void reads() {
    readWrite.readLock().lock();
    try {
      work();
    } finally {
      readWrite.readLock().unlock();
    }
  }

  private static void forever(String name, int threads, Runnable body) {
    for (int i = 1; i <= threads; i++) {
      new Thread(
              () -> {
                while (true) {
                  body.run();
                }
              },
              name + "-" + i)
          .start();
    }
  }

  private static void put() {
    try {
      queue.put(ThreadLocalRandom.current().nextInt());
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
    work();
  }

  private static void take() {
    try {
      sink += queue.take();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
    work();
  }

  public static void main(String[] args) throws InterruptedException {
    forever("monitor-user", 3, Main::monitors);
    forever("lock-user", 2, Main::locks);
    forever("reader", 2, Main::reads);
    forever("producer", 2, Main::put);
    forever("consumer", 1, Main::take);
    ExecutorService idle = Executors.newFixedThreadPool(2);
    idle.submit(Main::work);
    Thread.sleep(1000);
    Ready.now();
    Thread.sleep(3_600_000L);
  }
}
