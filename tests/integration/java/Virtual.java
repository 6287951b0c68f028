// SPDX-License-Identifier: Apache-2.0
import java.io.File;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;

/**
 * Virtual threads in every usual state. Compiled for release 8, so that one class file runs on all
 * JDKs: what is newer is called by reflection. Arguments: the parts to start, see main().
 */
public final class Virtual {
  static final class Held {}

  static final class Blocker {}

  static final Held held = new Held();
  static final Held waited = new Held();
  static final ReentrantLock lock = new ReentrantLock();
  static final ReentrantLock second = new ReentrantLock();
  static final ReentrantReadWriteLock readWrite = new ReentrantReadWriteLock();
  static final CountDownLatch never = new CountDownLatch(1);
  static final List<Thread> threads = new ArrayList<>();
  static volatile long sink;

  /** Its initializer is a native frame that cannot be unmounted. */
  static final class PinnedInNative {
    static {
      LockSupport.park(never);
    }

    static void touch() {}
  }

  static final class PinnedBelow {
    static {
      LockSupport.park(never);
    }

    static void touch() {}
  }

  static final ReentrantLock starved = new ReentrantLock();

  static final class StarvedOne {
    static {
      starved.lock();
    }

    static void touch() {}
  }

  static final class StarvedTwo {
    static {
      starved.lock();
    }

    static void touch() {}
  }

  /** While a carrier reads a file its scheduler may run another, which stays as an idle spare. */
  static void makeSpare() {
    Thread reader =
        start(
            "v-reader",
            () -> {
              try (RandomAccessFile file = new RandomAccessFile("/proc/self/stat", "r")) {
                sink += file.read();
              } catch (IOException e) {
                throw new AssertionError(e);
              }
            });
    sleep(300);
    threads.remove(reader); // it ended
  }

  /** With two carriers: both are pinned and wait for a lock whose holder waits for a carrier. */
  static void starve(boolean two) {
    Thread owner =
        start(
            "v-starved",
            () -> {
              starved.lock();
              LockSupport.park(never);
              starved.unlock();
            });
    sleep(200);
    start("v-one", () -> StarvedOne.touch());
    if (two) start("v-two", () -> StarvedTwo.touch());
    sleep(300);
    LockSupport.unpark(owner);
    threads.remove(owner); // it stays runnable
  }

  static Thread start(String name, Runnable body) {
    try {
      Object builder = Thread.class.getMethod("ofVirtual").invoke(null);
      Class<?> type = Class.forName("java.lang.Thread$Builder");
      builder = type.getMethod("name", String.class).invoke(builder, name);
      Thread thread = (Thread) type.getMethod("start", Runnable.class).invoke(builder, body);
      threads.add(thread);
      return thread;
    } catch (ReflectiveOperationException e) {
      throw new AssertionError(e);
    }
  }

  static Thread platform(String name, Runnable body) {
    Thread thread = new Thread(body, name);
    thread.setDaemon(true);
    thread.start();
    threads.add(thread);
    return thread;
  }

  static void sleep(long ms) {
    try {
      Thread.sleep(ms);
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  static void await(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  /** With arguments on the stack, a lock that is taken on the way, and something at the bottom. */
  static long deep(int depth, long a, long b, long c, long d, long e, long f, long g, Runnable bottom) {
    if (depth == 0) {
      bottom.run();
      return a + b + c + d + e + f + g;
    }
    return deep(depth - 1, b, c, d, e, f, g, a + 1, bottom) + a;
  }

  static void warmUp() {
    for (int i = 0; i < 20000; i++) sink += deep(12, i, 2, 3, 4, 5, 6, 7, () -> sink++);
  }

  static void mixed() {
    start("v-park", () -> LockSupport.park());
    start("v-park-for", () -> LockSupport.park(new Blocker()));
    start("v-park-timed", () -> LockSupport.parkNanos(new Blocker(), 3_600_000_000_000L));
    start("v-sleep", () -> sleep(3_600_000));
    start("v-latch", () -> await(never));
    start("v-lock", () -> lock.lock());
    start("v-read", () -> readWrite.readLock().lock());
    start(
        "v-second-owner",
        () -> {
          second.lock();
          LockSupport.park(never);
        });
    sleep(200);
    start("v-second", () -> second.lock());
    start(
        "v-join",
        () -> {
          try {
            threads.get(0).join();
          } catch (InterruptedException e) {
            throw new AssertionError(e);
          }
        });
    start("v-deep", () -> deep(150, 1, 2, 3, 4, 5, 6, 7, () -> LockSupport.park(never)));
    start("v-unicode-\u00e9\u4e2d", () -> LockSupport.park(never));
    start("", () -> LockSupport.park(never));
  }

  /** These keep their carrier, some of them only before 24. */
  static void pinned() {
    start(
        "v-monitor",
        () -> {
          synchronized (held) {
            sink++;
          }
        });
    start(
        "v-wait",
        () -> {
          synchronized (waited) {
            try {
              waited.wait();
            } catch (InterruptedException e) {
              throw new AssertionError(e);
            }
          }
        });
    start(
        "v-pinned-monitor",
        () -> {
          synchronized (new Held()) {
            LockSupport.park(never);
          }
        });
    start("v-pinned-native", () -> PinnedInNative.touch());
    // Parked once, its outer frames stay in their stack chunk when it goes on.
    start(
        "v-barrier",
        () ->
            deep(
                300,
                1,
                2,
                3,
                4,
                5,
                6,
                7,
                () -> {
                  LockSupport.parkNanos(50_000_000);
                  PinnedBelow.touch();
                }));
  }

  static void executors() throws ReflectiveOperationException {
    Method make = Executors.class.getMethod("newVirtualThreadPerTaskExecutor");
    ExecutorService executor = (ExecutorService) make.invoke(null);
    for (int i = 0; i < 3; i++) executor.submit(() -> await(never));
    executor.submit(
        () -> {
          ExecutorService inner = (ExecutorService) make.invoke(null);
          inner.submit(() -> await(never));
          await(never);
          return inner;
        });
  }

  static void many(int count) {
    for (int i = 0; i < count; i++) start(i % 2 == 0 ? "" : "w-" + i, () -> await(never));
  }

  static void deadlock(boolean monitors) {
    Object a = new Held(), b = new Blocker();
    ReentrantLock left = new ReentrantLock(), right = new ReentrantLock();
    CountDownLatch both = new CountDownLatch(2);
    start("v-left", () -> take(monitors, a, b, left, right, both));
    start("v-right", () -> take(monitors, b, a, right, left, both));
  }

  static void take(boolean monitors, Object a, Object b, ReentrantLock first, ReentrantLock next, CountDownLatch both) {
    if (monitors) {
      synchronized (a) {
        both.countDown();
        await(both);
        synchronized (b) {
          sink++;
        }
      }
    } else {
      first.lock();
      both.countDown();
      await(both);
      next.lock();
    }
  }

  static void run(String[] parts) throws Exception {
    lock.lock();
    readWrite.writeLock().lock();
    synchronized (held) {
      for (String part : parts) {
        if (part.equals("warm")) warmUp();
        else if (part.equals("mixed")) mixed();
        else if (part.equals("pinned")) pinned();
        else if (part.equals("executors")) executors();
        else if (part.equals("locks")) deadlock(false);
        else if (part.equals("monitors")) deadlock(true);
        else if (part.equals("starve")) starve(true);
        else if (part.equals("spare")) makeSpare();
        else if (part.equals("starve-one")) starve(false);
        else if (part.startsWith("many=")) many(Integer.parseInt(part.substring(5)));
        else throw new IllegalArgumentException(part);
      }
      settle();
      System.out.println("READY " + new File("/proc/self").getCanonicalFile().getName());
      System.out.flush();
      await(never);
    }
  }

  /** Until nobody runs, and for two moments more: a state is set before the thread is unmounted. */
  static void settle() {
    int quiet = 0;
    while (quiet < 3) {
      boolean running = false;
      for (Thread t : new ArrayList<>(threads)) running |= t.getState() == Thread.State.RUNNABLE;
      quiet = running ? 0 : quiet + 1;
      sleep(100);
    }
  }

  public static void main(String[] args) throws Exception {
    run(args);
  }
}
