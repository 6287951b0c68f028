// SPDX-License-Identifier: Apache-2.0
import java.io.File;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import java.util.zip.CRC32;

/**
 * A busy program whose threads check their own work: sums, bytes through sockets, numbers through queues, sleeps, locks.
 * SIGTERM: waits until every thread has done one more piece, and prints one line per thread, as interrupted.c does.
 */
public final class Undisturbed {
  interface Piece {
    /** @return true when the outcome is right. */
    boolean run() throws Exception;
  }

  static final class Worker extends Thread {
    final Piece piece;
    final boolean rests;
    final AtomicLong done = new AtomicLong();
    final AtomicLong wrong = new AtomicLong();

    Worker(String name, Piece piece, boolean rests) {
      super(name);
      this.piece = piece;
      this.rests = rests;
      setDaemon(true);
    }

    @Override
    public void run() {
      while (true) {
        boolean right;
        try {
          right = piece.run();
        } catch (Throwable e) {
          right = false;
          if (wrong.get() == 0) {
            System.out.println(getName() + ": " + e);
          }
        }
        if (!right) {
          wrong.incrementAndGet();
        }
        done.incrementAndGet();
        if (rests) {
          LockSupport.parkNanos(300_000);
        }
      }
    }
  }

  static final List<Worker> workers = new ArrayList<>();
  static final Object monitor = new Object();
  static final ReentrantLock lock = new ReentrantLock();
  static int shared;
  static int inside;

  static boolean checksum() {
    CRC32 crc = new CRC32();
    byte[] bytes = new byte[20000];
    for (int i = 0; i < bytes.length; i++) {
      bytes[i] = (byte) (i * 31);
    }
    crc.update(bytes);
    return crc.getValue() == 0xa8815f7bL;
  }

  static boolean doubles() {
    double sum = 0;
    for (int i = 1; i <= 100000; i++) {
      sum += Math.sqrt((double) i * i);
    }
    return sum == 5000050000.0;
  }

  static boolean sleep() throws Exception {
    long start = System.nanoTime();
    Thread.sleep(3);
    return System.nanoTime() - start >= 2900000;
  }

  static boolean monitors() throws Exception {
    synchronized (monitor) {
      int before = ++shared;
      monitor.wait(1);
      return shared >= before;
    }
  }

  static boolean locks() {
    lock.lock();
    try {
      boolean alone = ++inside == 1;
      LockSupport.parkNanos(200_000);
      inside--;
      return alone;
    } finally {
      lock.unlock();
    }
  }

  static void add(String name, Piece piece) {
    workers.add(new Worker(name, piece, false));
  }

  /** One that sleeps after each piece: the other side waits for it, and the machine has rest. */
  static void addLazy(String name, Piece piece) {
    workers.add(new Worker(name, piece, true));
  }

  static void addQueue() {
    BlockingQueue<Long> queue = new ArrayBlockingQueue<>(8);
    long[] next = {0, 0};
    addLazy(
        "queue put",
        () -> {
          queue.put(next[0]++);
          return true;
        });
    add("queue take", () -> queue.take() == next[1]++);
  }

  static void addSocket() throws Exception {
    try (ServerSocket server = new ServerSocket(0, 1, java.net.InetAddress.getLoopbackAddress())) {
      Socket there = new Socket(server.getInetAddress(), server.getLocalPort());
      Socket here = server.accept();
      OutputStream out = there.getOutputStream();
      InputStream in = here.getInputStream();
      int[] next = {0, 0};
      byte[] sent = new byte[5000];
      byte[] got = new byte[3000];
      add(
          "socket write",
          () -> {
            for (int i = 0; i < sent.length; i++) {
              sent[i] = (byte) next[0]++;
            }
            out.write(sent);
            return true;
          });
      addLazy(
          "socket read",
          () -> {
            int len = in.read(got);
            boolean right = len > 0;
            for (int i = 0; i < len; i++) {
              right &= got[i] == (byte) next[1]++;
            }
            return right;
          });
    }
  }

  static void report() {
    long[] before = new long[workers.size()];
    for (int i = 0; i < before.length; i++) {
      before[i] = workers.get(i).done.get();
    }
    for (int tries = 0; tries < 6000; tries++) {
      int behind = 0;
      for (int i = 0; i < before.length; i++) {
        behind += workers.get(i).done.get() == before[i] ? 1 : 0;
      }
      if (behind == 0) {
        break;
      }
      LockSupport.parkNanos(10_000_000);
    }
    for (int i = 0; i < before.length; i++) {
      Worker w = workers.get(i);
      if (w.done.get() == before[i]) {
        System.out.println("STUCK " + w.getName());
      }
      System.out.println(
          "CALL " + w.getName() + ": " + w.done + " calls, 0 EINTR, " + w.wrong + " wrong, must not");
    }
    System.out.println("END");
    System.out.flush();
  }

  public static void main(String[] args) throws Exception {
    addLazy("checksum", Undisturbed::checksum);
    addLazy("doubles", Undisturbed::doubles);
    add("sleep", Undisturbed::sleep);
    add("monitor 1", Undisturbed::monitors);
    add("monitor 2", Undisturbed::monitors);
    add("lock 1", Undisturbed::locks);
    add("lock 2", Undisturbed::locks);
    addQueue();
    addSocket();
    Runtime.getRuntime().addShutdownHook(new Thread(Undisturbed::report));
    for (Worker w : workers) {
      w.start();
    }
    System.out.println("READY " + new File("/proc/self").getCanonicalFile().getName());
    System.out.flush();
    Thread.sleep(Long.MAX_VALUE);
  }
}
