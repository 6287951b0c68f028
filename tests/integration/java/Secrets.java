// SPDX-License-Identifier: Apache-2.0
import java.io.File;
import java.io.FileInputStream;
import java.lang.reflect.Method;
import java.util.concurrent.locks.ReentrantLock;

/** A deadlock in which everything that a program can write down says hunter2. args: a named pipe. */
public final class Secrets {
  static final class Vault {
    final String password = "hunter2-field";
    final long pin = 4711471147114711L;
    final byte[] key = "hunter2-bytes".getBytes();

    @Override
    public String toString() {
      return "hunter2-toString";
    }
  }

  static final class NamedLock extends ReentrantLock {
    private static final long serialVersionUID = 1;
    final String name = "hunter2-lock";
  }

  static final Vault left = new Vault();
  static final Vault right = new Vault();
  static final NamedLock orphan = new NamedLock();

  static void cross(Vault first, Vault second, String token, long pin) throws InterruptedException {
    String copy = token + "-copy";
    synchronized (first) {
      Thread.sleep(500);
      synchronized (second) {
        System.out.println(copy + pin);
      }
    }
  }

  interface Body {
    void run() throws Exception;
  }

  static Thread start(String name, final Body body) {
    Thread thread =
        new Thread(
            new Runnable() {
              @Override
              public void run() {
                try {
                  body.run();
                } catch (Exception e) {
                  throw new RuntimeException(e);
                }
              }
            },
            name);
    thread.setDaemon(true);
    thread.start();
    return thread;
  }

  /** 21+: one that parks, unmounted, and one that is pinned to its carrier. */
  static void startVirtual(Runnable body, String name) {
    try {
      Object builder = Thread.class.getMethod("ofVirtual").invoke(null);
      Class<?> type = Class.forName("java.lang.Thread$Builder");
      Method named = type.getMethod("name", String.class);
      type.getMethod("start", Runnable.class).invoke(named.invoke(builder, name), body);
    } catch (ReflectiveOperationException e) {
      // an older release
    }
  }

  public static void main(String[] args) throws Exception {
    final Thread one = start("hunter2-one", () -> cross(left, right, "hunter2-token", 4711471147114711L));
    final Thread two = start("hunter2-two", () -> cross(right, left, "hunter2-token", 4711471147114711L));
    Thread joins = start("hunter2-joins", one::join);
    start("hunter2-ended", orphan::lock).join();
    Thread waits = start("hunter2-waits", orphan::lock);
    start("hunter2-reads", () -> new FileInputStream(args[0]).close());
    startVirtual(() -> {
      synchronized (left) {
        System.out.println("never");
      }
    }, "hunter2-virtual-blocked");
    startVirtual(() -> orphan.lock(), "hunter2-virtual-parked");
    while (one.getState() != Thread.State.BLOCKED
        || two.getState() != Thread.State.BLOCKED
        || joins.getState() != Thread.State.WAITING
        || waits.getState() != Thread.State.WAITING) {
      Thread.sleep(50);
    }
    System.out.println("READY " + new File("/proc/self").getCanonicalFile().getName());
    System.out.flush();
    one.join();
  }
}
