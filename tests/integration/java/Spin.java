// SPDX-License-Identifier: Apache-2.0
import java.io.File;
import java.lang.invoke.MethodHandle;
import java.math.BigInteger;
import java.util.Arrays;
import java.util.zip.CRC32;

/**
 * Threads that never stand still, for stacks from registers at any instruction. Rules that test_running.py relies on:
 * a thread is called like the method that Worker.run() calls for it; each line calls by name what it calls; no two
 * methods share a name; one level of indentation is a method of the outer class.
 */
public final class Spin {
  static volatile long sink;
  static volatile boolean odd;

  static final class Worker extends Thread {
    final int kind;

    Worker(String name, int kind) {
      super(name);
      this.kind = kind;
      setDaemon(true);
    }

    @Override
    public void run() {
      while (true) {
        switch (kind) {
          case 0:
            calls();
            break;
          case 1:
            dispatch();
            break;
          case 2:
            intrinsics();
            break;
          case 3:
            exceptions();
            break;
          case 4:
            adapters();
            break;
          case 5:
            traps();
            break;
          case 6:
            locks();
            break;
          case 7:
            allocation();
            break;
          case 8:
            jni();
            break;
          case 9:
            signals();
            break;
          case 10:
            upcalls();
            break;
          default:
            throw new IllegalStateException();
        }
      }
    }
  }

  // ---- plain calls, with frames of several sizes

  static void calls() {
    for (int i = 0; i < 100; i++) {
      sink += callsOne(i);
      sink += callsWide(i, 1, 2, 3, 4, 5, 6, 7, 8, 9);
    }
  }

  static long callsOne(int i) {
    long a = callsTwo(i + 1);
    return a ^ callsTwo(i);
  }

  static long callsTwo(int i) {
    if ((i & 15) == 0) {
      return callsRecursive(12);
    }
    return callsLeaf(i) + 3;
  }

  static long callsLeaf(int i) {
    return (i * 31L) ^ (i >>> 3);
  }

  static long callsRecursive(int depth) {
    return depth == 0 ? 1 : callsRecursive(depth - 1) * 3 + depth;
  }

  static long callsWide(long a, long b, long c, long d, long e, long f, long g, long h, int i, int j) {
    double x = a * 1.5;
    double y = b * 2.5;
    long sum = callsLeaf((int) (a + b));
    return sum + a + b + c + d + e + f + g + h + i + j + (long) (x * y);
  }

  // ---- vtable and itable stubs

  interface Measured {
    int measure(int x);
  }

  abstract static class Base implements Measured {
    abstract int weigh(int x);
  }

  static class First extends Base {
    @Override
    int weigh(int x) {
      return x + 1;
    }

    @Override
    public int measure(int x) {
      return x * 2;
    }
  }

  static final class Second extends First {
    @Override
    int weigh(int x) {
      return x + 2;
    }

    @Override
    public int measure(int x) {
      return x * 3;
    }
  }

  static final class Third extends First {
    @Override
    int weigh(int x) {
      return x ^ 3;
    }

    @Override
    public int measure(int x) {
      return x * 5;
    }
  }

  static final class Fourth extends Base {
    @Override
    int weigh(int x) {
      return x ^ 4;
    }

    @Override
    public int measure(int x) {
      return x * 7;
    }
  }

  static final Base[] bases = {new First(), new Second(), new Third(), new Fourth()};

  static void dispatch() {
    int sum = 0;
    for (int i = 0; i < 200; i++) {
      Base base = bases[i & 3];
      Measured measured = bases[(i >> 1) & 3];
      sum += base.weigh(sum);
      sum += measured.measure(i);
    }
    sink += sum;
  }

  // ---- stubs that compiled code calls: copying, arithmetic, checksums

  static final byte[] from = new byte[4000];
  static final byte[] to = new byte[4000];
  static final BigInteger big = BigInteger.ONE.shiftLeft(3000).subtract(BigInteger.TEN);

  static void intrinsics() {
    sink += copies();
    sink += numbers(sink);
    sink += checksums();
  }

  static long copies() {
    for (int i = 0; i < 40; i++) {
      System.arraycopy(from, i, to, 40 - i, 3000 + i);
      System.arraycopy(to, i, to, i + 1, 900);
      Arrays.fill(to, 0, 3000, (byte) i);
    }
    return to[17];
  }

  static long numbers(long seed) {
    double x = seed % 1000;
    for (int i = 1; i < 20; i++) {
      x += Math.sin(x) + Math.pow(i, 1.3);
      x += Math.log(i + 1.0) + Math.exp(1.0 / i);
    }
    return (long) x + big.multiply(big).hashCode();
  }

  static long checksums() {
    CRC32 crc = new CRC32();
    crc.update(from, 0, from.length);
    return crc.getValue() + Arrays.hashCode(from);
  }

  // ---- exceptions

  static final RuntimeException thrown = new IllegalArgumentException("always the same");

  static void exceptions() {
    for (int i = 0; i < 50; i++) {
      try {
        throwDeep(i & 7);
      } catch (IllegalArgumentException e) {
        sink++;
      }
    }
    try {
      throwNew(5);
    } catch (IllegalStateException e) {
      sink += e.getStackTrace().length;
    }
  }

  static void throwDeep(int depth) {
    if (depth == 0) {
      throw thrown;
    }
    try {
      throwDeep(depth - 1);
    } finally {
      sink++;
    }
  }

  static void throwNew(int depth) {
    if (depth == 0) {
      throw new IllegalStateException();
    }
    throwNew(depth - 1);
  }

  // ---- compiled code calls the interpreter and the reverse: the test excludes some from compilation

  static void adapters() {
    for (int i = 0; i < 50; i++) {
      sink += neverCompiledOne(i, 3L, 2.5, null);
    }
  }

  static long neverCompiledOne(int i, long a, double b, Object c) {
    return compiledBetween(i, a, b, c) + 1;
  }

  static long compiledBetween(int i, long a, double b, Object c) {
    long sum = 0;
    for (int k = 0; k < 10; k++) {
      sum += neverCompiledTwo(c, i + k, b, a);
    }
    return sum;
  }

  static long neverCompiledTwo(Object c, int i, double b, long a) {
    return compiledInner(i, a) + (c == null ? 1 : 0);
  }

  static long compiledInner(int i, long a) {
    return i * a;
  }

  // ---- code that turns out wrong: deoptimization

  static void traps() {
    long round = sink;
    for (int i = 0; i < 3000; i++) {
      sink += trapsUnstable(i, i > 2990 && (round & 7) == 0);
    }
  }

  static long trapsUnstable(int i, boolean rare) {
    if (rare) {
      return trapsRare(i);
    }
    return trapsChecked(i & 31);
  }

  static long trapsRare(int i) {
    odd = !odd;
    Object[] array = odd ? new Object[8] : new String[8];
    try {
      array[i & 7] = i;
    } catch (ArrayStoreException e) {
      return 2;
    }
    return 1;
  }

  static long trapsChecked(int i) {
    try {
      return from[i == 31 ? 5000 : i];
    } catch (ArrayIndexOutOfBoundsException e) {
      return 3;
    }
  }

  // ---- monitors

  static final Object monitor = new Object();

  static void locks() {
    for (int i = 0; i < 20; i++) {
      sink += locksOuter(i);
    }
  }

  static long locksOuter(int i) {
    synchronized (monitor) {
      return locksInner(i);
    }
  }

  static synchronized long locksInner(int i) {
    return locksHash(new Object(), i);
  }

  static long locksHash(Object fresh, int i) {
    synchronized (fresh) {
      return fresh.hashCode() + i;
    }
  }

  // ---- allocation

  static void allocation() {
    Object last = null;
    for (int i = 0; i < 50; i++) {
      last = allocate(i, last);
    }
    sink += last.hashCode();
  }

  static Object allocate(int i, Object last) {
    if ((i & 7) == 0) {
      return new long[i * 40 + 1];
    }
    return allocateBox(last, i);
  }

  static Object allocateBox(Object last, int i) {
    return new Object[] {i % 3 == 0 ? null : last, i * 1000};
  }

  // ---- native code

  static void jni() {
    for (int i = 0; i < 30; i++) {
      sink += SpinNative.step(i);
      SpinNative.callBack(i);
    }
  }

  static void calledBack(int i) {
    sink += callsLeaf(i);
  }

  static void signals() {
    for (int i = 0; i < 100; i++) {
      sink += signalsOne(i);
    }
  }

  static long signalsOne(int i) {
    return signalsTwo(i) * 3 + signalsTwo(i + 1);
  }

  static long signalsTwo(int i) {
    long x = i;
    for (int k = 0; k < 5; k++) {
      x = x * 31 + signalsLeaf(k);
    }
    return x;
  }

  static long signalsLeaf(int i) {
    return i ^ 21;
  }

  static MethodHandle upcall;

  static void upcalls() {
    try {
      for (int i = 0; i < 30; i++) {
        upcall.invoke();
      }
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
  }

  static void calledUp() {
    sink += callsLeaf((int) sink);
  }

  /** Arguments: nothing, or the path of the library of mixnative.c. */
  public static void main(String[] args) throws Exception {
    String[] names = {
      "calls", "dispatch", "intrinsics", "exceptions", "adapters", "traps", "locks", "allocation", "jni", "signals",
      "upcalls"
    };
    if (args.length > 0) {
      System.load(args[0]);
      upcall = MixNative.downcall(args[0], Spin.class, "calledUp");
    }
    int count = args.length == 0 ? 8 : upcall == null ? 10 : 11;
    for (int i = 0; i < count; i++) {
      new Worker(names[i], i).start();
    }
    new Worker("locks", 6).start();
    if (args.length > 0) {
      Thread.sleep(500);
      SpinNative.signalThread("signals");
    }
    Thread.sleep(1000);
    System.out.println("READY " + new File("/proc/self").getCanonicalFile().getName());
    System.out.flush();
    Thread.sleep(Long.MAX_VALUE);
  }
}
