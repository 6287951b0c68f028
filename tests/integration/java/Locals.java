// SPDX-License-Identifier: Apache-2.0
import java.io.File;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.locks.LockSupport;

/**
 * Frames whose arguments and local variables are known. Prints what they hold, one line each:
 * EXPECT method, name, type, value and, of an object whose identity hash was asked for, that.
 */
public final class Locals {
  static final CountDownLatch inside = new CountDownLatch(1);
  static final int IN_NUMBERS = 1;
  static final int IN_OBJECTS = 2;
  static final int IN_LOCKED = 3;
  static volatile boolean stop;
  static volatile int blockAt;
  static int unused;

  enum Color {
    RED,
    GREEN
  }

  static final class Point {
    final int x, y;

    Point(int x, int y) {
      this.x = x;
      this.y = y;
    }
  }

  static final class SecretLock {
    final String password = "hunter2-field";
    final int pin = 47114711;
  }

  static void expect(String method, String name, String type, Object value) {
    System.out.println("EXPECT\t" + method + "\t" + name + "\t" + type + "\t" + value);
  }

  static void hash(String method, String name, Object object) {
    System.out.println("HASH\t" + method + "\t" + name + "\t" + System.identityHashCode(object));
  }

  /** Never compiled (the tests exclude it): always a call, so that its callers keep their frames. */
  static int hold(int where) {
    if (where == blockAt) {
      inside.countDown();
      while (!stop) {
        LockSupport.park();
      }
    }
    return where;
  }

  static String repeat(char c, int times) {
    StringBuilder builder = new StringBuilder();
    for (int i = 0; i < times; i++) {
      builder.append(c);
    }
    return builder.toString();
  }

  /** All of them are used after the call, so compiled code must keep them. */
  static double numbers(
      boolean yes, byte small, short mid, char letter, int count, long big, float half, double ratio) {
    int held = hold(IN_NUMBERS);
    return (yes ? 1 : 0) + small + mid + letter + count + big + half + ratio + held;
  }

  static int objects(
      String text,
      String odd,
      String large,
      Object nothing,
      int[] ints,
      Object[][] table,
      Class<?> type,
      Class<?> primitive,
      Color color,
      Integer box,
      Double real,
      Thread self,
      Object lock) {
    int held = hold(IN_OBJECTS);
    return held
        + text.length()
        + odd.length()
        + large.length()
        + (nothing == null ? 1 : 0)
        + ints.length
        + table.length
        + type.hashCode()
        + primitive.hashCode()
        + color.ordinal()
        + box
        + real.intValue()
        + (int) self.getId()
        + lock.hashCode();
  }

  /** Blocked on a monitor: C1 keeps values in registers, which only its stub has saved. */
  static double locked(int a, long b, double d, float f, String name, Object monitor) {
    int twice = a * 2;
    double sum = d + f;
    synchronized (monitor) {
      unused++;
    }
    return a + b + d + f + name.length() + twice + sum;
  }

  /** Locals that are no arguments; one out of scope, one not assigned yet. */
  double variables(int seed) {
    {
      String gone = "gone" + seed;
      unused += gone.length();
    }
    int twice = seed * 2;
    long wide = (long) seed << 40;
    double frac = seed / 8.0;
    float single = seed / 4.0f;
    String word = "word-" + seed;
    Point point = new Point(seed, twice);
    boolean flag = (seed & 1) == 1;
    double held = numbers(flag, (byte) -5, (short) -300, 'x', seed, wide, single, frac);
    int later = objects(word, ODD, LARGE, null, INTS, TABLE, Locals.class, int.class, Color.GREEN, BOX, REAL, self, LOCK);
    return twice + wide + frac + single + word.length() + point.x + point.y + held + later + tag.length() + (flag ? 1 : 0);
  }

  static final String ODD = "tab\t quote\" \u20ac \ud83d\ude00 \u001b[2J";
  static final String LARGE = repeat('y', 5000);
  static final int[] INTS = {1, 2, 3};
  static final Object[][] TABLE = new Object[4][2];
  static final Integer BOX = 123456;
  static final Double REAL = -0.1;
  static final SecretLock LOCK = new SecretLock();
  static final SecretLock MONITOR = new SecretLock();
  static Thread self;
  final String tag = "tag";

  static void expectAll(Locals locals) {
    String v = "variables";
    expect(v, "this", "Locals", "Locals");
    hash(v, "this", locals);
    expect(v, "seed", "int", 77);
    expect(v, "twice", "int", 154);
    expect(v, "wide", "long", 77L << 40);
    expect(v, "frac", "double", 77 / 8.0);
    expect(v, "single", "float", 77 / 4.0f);
    expect(v, "word", "java.lang.String", "word-77");
    expect(v, "point", "Locals$Point", "Locals$Point");
    expect(v, "flag", "boolean", true);
    String n = "numbers";
    expect(n, "yes", "boolean", true);
    expect(n, "small", "byte", -5);
    expect(n, "mid", "short", -300);
    expect(n, "letter", "char", "'x'");
    expect(n, "count", "int", 77);
    expect(n, "big", "long", 77L << 40);
    expect(n, "half", "float", 77 / 4.0f);
    expect(n, "ratio", "double", 77 / 8.0);
    String l = "locked";
    expect(l, "a", "int", 77);
    expect(l, "b", "long", 1L << 40);
    expect(l, "d", "double", 0.1);
    expect(l, "f", "float", 19.25f);
    expect(l, "name", "java.lang.String", "locked-name");
    expect(l, "monitor", "java.lang.Object", "Locals$SecretLock");
    expect(l, "twice", "int", 154);
    expect(l, "sum", "double", 0.1 + 19.25f);
    String o = "objects";
    expect(o, "text", "java.lang.String", "word-77");
    expect(o, "odd", "java.lang.String", "ODD");
    expect(o, "large", "java.lang.String", "LARGE");
    expect(o, "nothing", "java.lang.Object", "null");
    expect(o, "ints", "int[]", "int[] 3");
    expect(o, "table", "java.lang.Object[][]", "java.lang.Object[][] 4");
    expect(o, "type", "java.lang.Class", "Locals");
    expect(o, "primitive", "java.lang.Class", "int");
    expect(o, "color", "Locals$Color", "GREEN");
    expect(o, "box", "java.lang.Integer", BOX);
    expect(o, "real", "java.lang.Double", REAL);
    expect(o, "self", "java.lang.Thread", self.getName());
    expect(o, "lock", "java.lang.Object", "Locals$SecretLock");
    hash(o, "lock", LOCK);
  }

  static void awaitState(Thread thread, Thread.State state) throws InterruptedException {
    while (thread.getState() != state) {
      Thread.sleep(20);
    }
  }

  static void ready() throws Exception {
    System.out.println("READY " + new File("/proc/self").getCanonicalFile().getName());
    System.out.flush();
  }

  /** args: where to hold (numbers, objects or locked), how often to warm up. */
  public static void main(String[] args) throws Exception {
    final int where = args[0].equals("numbers") ? IN_NUMBERS : args[0].equals("objects") ? IN_OBJECTS : IN_LOCKED;
    final int rounds = Integer.parseInt(args[1]);
    final Locals locals = new Locals();
    Thread worker =
        new Thread(
            new Runnable() {
              @Override
              public void run() {
                double sum = 0;
                for (int i = 0; i < rounds; i++) {
                  sum += locals.variables(i);
                  sum += locked(i, i, i, i, "warm", locals);
                }
                blockAt = where;
                if (where == IN_LOCKED) {
                  inside.countDown();
                  sum += locked(77, 1L << 40, 0.1, 19.25f, "locked-name", MONITOR);
                } else {
                  sum += locals.variables(77);
                }
                System.out.println(sum);
              }
            },
            "hunter2-thread");
    self = worker;
    expectAll(locals);
    synchronized (MONITOR) {
      worker.start();
      inside.await();
      awaitState(worker, where == IN_LOCKED ? Thread.State.BLOCKED : Thread.State.WAITING);
      ready();
      worker.join();
    }
  }
}
