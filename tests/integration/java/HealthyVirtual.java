// SPDX-License-Identifier: Apache-2.0
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.channels.Pipe;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Virtual threads that are busy, contended and short of carriers, but correct: everything is taken in one order, first
 * locks and then monitors, so that nothing that a pinned thread needs is held by one that needs a carrier (before 24
 * that would be a deadlock). Compiled for release 8: what is newer is called by reflection.
 */
public final class HealthyVirtual {
  interface Body {
    void run() throws Exception;
  }

  private static final ReentrantLock first = new ReentrantLock();
  private static final ReentrantLock second = new ReentrantLock(true);
  private static final Object third = new Object();
  private static final Object fourth = new Object();
  private static final BlockingQueue<Integer> queue = new ArrayBlockingQueue<>(2);
  private static ExecutorService perTask;
  private static ExecutorService pool;
  private static Object builder;
  static volatile long sink;
  static volatile Object[] live;

  private HealthyVirtual() {}

  static Thread start(String name, Body body) {
    Runnable run =
        () -> {
          try {
            body.run();
          } catch (Exception e) {
            e.printStackTrace(System.out);
            System.exit(1);
          }
        };
    try {
      Class<?> type = Class.forName("java.lang.Thread$Builder");
      synchronized (HealthyVirtual.class) {
        Object named = type.getMethod("name", String.class).invoke(builder, name);
        return (Thread) type.getMethod("start", Runnable.class).invoke(named, run);
      }
    } catch (ReflectiveOperationException e) {
      throw new AssertionError(e);
    }
  }

  static void forever(String name, int count, Body body) {
    for (int i = 1; i <= count; i++) {
      start(
          name + "-" + i,
          () -> {
            while (true) body.run();
          });
    }
  }

  static int random(int bound) {
    return ThreadLocalRandom.current().nextInt(bound);
  }

  static void burn(long micros) {
    long end = System.nanoTime() + micros * 1000;
    while (System.nanoTime() - end < 0) sink += Integer.toString(random(1000)).hashCode();
  }

  /** What a thread does while it holds something: on its carrier, or without one. */
  static void work() {
    switch (random(6)) {
      case 0:
        Thread.yield();
        break;
      case 1:
        LockSupport.parkNanos(100_000);
        break;
      case 2:
        burn(300);
        break;
      default:
        sink++;
    }
  }

  static void rest() throws InterruptedException {
    Thread.sleep(1 + random(4));
  }

  static void locks() throws InterruptedException {
    first.lock();
    try {
      work();
      second.lock();
      try {
        work();
      } finally {
        second.unlock();
      }
    } finally {
      first.unlock();
    }
    rest();
  }

  static void timedLocks() throws InterruptedException {
    if (second.tryLock(5, TimeUnit.SECONDS)) {
      try {
        work();
      } finally {
        second.unlock();
      }
    }
    rest();
  }

  static void monitors() throws InterruptedException {
    synchronized (third) {
      work();
      synchronized (fourth) {
        work();
      }
    }
    rest();
  }

  static void both() throws InterruptedException {
    second.lock();
    try {
      Thread.yield();
      synchronized (third) {
        work();
      }
    } finally {
      second.unlock();
    }
    rest();
  }

  static void waits() throws InterruptedException {
    synchronized (fourth) {
      fourth.wait(1 + random(3));
      fourth.notify();
    }
  }

  static void joins() throws InterruptedException {
    start("child", HealthyVirtual::work).join();
    rest();
  }

  static void submits() throws Exception {
    Future<?> virtual = perTask.submit(HealthyVirtual::work);
    Future<?> platform = pool.submit(HealthyVirtual::work);
    virtual.get();
    platform.get();
    rest();
  }

  /** Two that wake each other: one of them always has its permit or is awake. */
  static void pingPong(int number) {
    Thread[] pair = new Thread[2];
    int[] turn = {0};
    for (int i = 0; i < 2; i++) {
      int me = i;
      pair[i] =
          start(
              "ping-pong-" + number + "-" + i,
              () -> {
                while (true) {
                  synchronized (turn) {
                    if (turn[0] == me) turn[0] = 1 - me;
                  }
                  LockSupport.unpark(pair[1 - me]);
                  LockSupport.parkNanos(turn, 50_000_000);
                }
              });
    }
  }

  static void sockets() throws IOException {
    ServerSocket server = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
    start(
        "echo",
        () -> {
          Socket socket = server.accept();
          InputStream in = socket.getInputStream();
          OutputStream out = socket.getOutputStream();
          while (true) out.write(in.read());
        });
    start(
        "asker",
        () -> {
          Socket socket = new Socket(server.getInetAddress(), server.getLocalPort());
          while (true) {
            socket.getOutputStream().write(1);
            sink += socket.getInputStream().read();
            rest();
          }
        });
  }

  static void pipes() throws IOException {
    Pipe pipe = Pipe.open();
    forever("pipe-reader", 1, () -> sink += pipe.source().read(ByteBuffer.allocate(8)));
    forever(
        "pipe-writer",
        1,
        () -> {
          sink += pipe.sink().write(ByteBuffer.allocate(8));
          rest();
        });
  }

  /** For some moments nobody else gets a carrier, whatever he holds; then a collection that moves all. */
  static void saturate() throws InterruptedException {
    Thread[] burners = new Thread[4];
    for (int i = 0; i < burners.length; i++) {
      burners[i] =
          start(
              "burner",
              () -> {
                for (int k = 0; k < 3; k++) {
                  burn(10_000);
                  Thread.yield();
                }
              });
    }
    for (Thread burner : burners) burner.join();
    Thread.sleep(120);
    System.gc();
  }

  static void fillHeap() {
    Object[] top = new Object[400_000];
    for (int i = 0; i < top.length; i++) top[i] = new Object[] {i == 0 ? null : top[i - 1]};
    live = top;
  }

  public static void main(String[] args) throws Exception {
    builder = Thread.class.getMethod("ofVirtual").invoke(null);
    perTask = (ExecutorService) Executors.class.getMethod("newVirtualThreadPerTaskExecutor").invoke(null);
    ThreadFactory daemons =
        task -> {
          Thread thread = new Thread(task, "pool");
          thread.setDaemon(true);
          return thread;
        };
    pool = Executors.newFixedThreadPool(2, daemons);
    fillHeap();
    forever("lock-user", 8, HealthyVirtual::locks);
    forever("timed-lock-user", 2, HealthyVirtual::timedLocks);
    forever("monitor-user", 4, HealthyVirtual::monitors);
    forever("user-of-both", 4, HealthyVirtual::both);
    forever("waiter", 2, HealthyVirtual::waits);
    forever("joiner", 2, HealthyVirtual::joins);
    forever("submitter", 4, HealthyVirtual::submits);
    forever("producer", 2, () -> queue.put(random(9)));
    forever(
        "consumer",
        1,
        () -> {
          sink += queue.take();
          rest();
        });
    forever("sleeper", 100, () -> Thread.sleep(50 + random(500)));
    for (int i = 1; i <= 2; i++) pingPong(i);
    sockets();
    pipes();
    Thread saturator =
        new Thread(
            () -> {
              try {
                while (true) saturate();
              } catch (InterruptedException e) {
                throw new AssertionError(e);
              }
            },
            "saturator");
    saturator.start();
    Thread.sleep(1500);
    System.out.println("READY " + new File("/proc/self").getCanonicalFile().getName());
    System.out.flush();
    saturator.join();
  }
}
