// SPDX-License-Identifier: Apache-2.0
import java.io.File;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.reflect.Method;
import java.net.ServerSocket;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Exchanger;
import java.util.concurrent.FutureTask;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;

/** Threads blocked in every usual way, for comparing whole stacks with jstack. */
public final class Mix {
  interface Body {
    void run() throws Throwable;
  }

  static final class Held {}

  static final class Outer {}

  static final class Inner {}

  static final Held held = new Held();
  static final Held hashed = new Held();
  static final ReentrantLock lock = new ReentrantLock();
  static final ReentrantReadWriteLock readWrite = new ReentrantReadWriteLock();
  static final CountDownLatch never = new CountDownLatch(1);
  static final List<Thread> threads = new ArrayList<>();
  static final int LOOPS = 400_000;
  static volatile long sink;

  /** Blocks for ever on a monitor, but only once the warm-up is over. */
  static void blockOnMonitor(boolean block) {
    if (block) {
      synchronized (held) {
        sink++;
      }
    }
  }

  static int hotLeaf(int x, boolean block) {
    blockOnMonitor(block);
    return x * 31 + 7;
  }

  static int hotMiddle(int x, boolean block) {
    return hotLeaf(x ^ 5, block) + 1;
  }

  static int hotTop(int x, boolean block) {
    Object local = new Object();
    synchronized (local) { // may be eliminated once compiled
      return hotMiddle(x, block) + 3;
    }
  }

  static int hotNested(Outer outer, Inner inner, int x, boolean block) {
    synchronized (outer) {
      synchronized (inner) {
        return hotMiddle(x, block);
      }
    }
  }

  static int hotRecursive(int depth, boolean block) {
    return depth == 0 ? hotMiddle(depth, block) : hotRecursive(depth - 1, block) + 1;
  }

  /** Runs long enough in one call to be compiled by on-stack replacement. */
  static long hotLoop(boolean block) {
    long sum = 0;
    for (int i = 0; i < 3_000_000; i++) {
      sum += hotMiddle(i, block && i == 2_999_999);
    }
    return sum;
  }

  static synchronized void staticSynchronized() {
    blockOnMonitor(true);
  }

  static void waitOn(Object object, long millis) throws InterruptedException {
    synchronized (object) {
      while (true) {
        object.wait(millis);
      }
    }
  }

  static int coldRecursive(int depth, Body leaf) throws Throwable {
    if (depth == 0) {
      leaf.run();
      return 0;
    }
    return coldRecursive(depth - 1, leaf) + 1;
  }

  static final class Constructed {
    Constructed(Inner inner) {
      synchronized (inner) {
        blockOnMonitor(true);
      }
    }
  }

  /** A call that no compiler inlines or cuts: three classes pass it while it is warmed up. */
  interface Gate {
    void pass(int i);
  }

  static final class CountingGate implements Gate {
    @Override
    public void pass(int i) {
      sink += i;
    }
  }

  static final class XorGate implements Gate {
    @Override
    public void pass(int i) {
      sink ^= i;
    }
  }

  static final class BlockingGate implements Gate {
    final int from;

    BlockingGate(int from) {
      this.from = from;
    }

    @Override
    public void pass(int i) {
      blockOnMonitor(i >= from);
    }
  }

  static final Gate[] openGates = {
    new CountingGate(), new XorGate(), new BlockingGate(Integer.MAX_VALUE)
  };

  static int gateLeaf(Gate gate, int x) {
    gate.pass(x);
    return x * 31 + 7;
  }

  static int gateInline1(Gate gate, int x) {
    return gateLeaf(gate, x) ^ 5;
  }

  static int gateInline2(Gate gate, int x) {
    return gateInline1(gate, x) + 1;
  }

  static int gateInline3(Gate gate, int x) {
    return gateInline2(gate, x) * 3;
  }

  static int gateInline4(Gate gate, int x) {
    return gateInline3(gate, x) - 1;
  }

  /** The lock of a local object: gone once C2 compiles it. */
  static int gateLocal(Gate gate, int x) {
    Object local = new Object();
    synchronized (local) {
      return gateInline4(gate, x);
    }
  }

  static synchronized int gateStaticSynchronized(Gate gate, int x) {
    return gateInline2(gate, x);
  }

  /** Recursive locks on one object: C2 coarsens or eliminates the inner ones. */
  static int gateNested(Gate gate, Outer outer, Inner inner, int x) {
    synchronized (outer) {
      synchronized (inner) {
        synchronized (outer) {
          return gateInline4(gate, x);
        }
      }
    }
  }

  static final class Recursive {
    private int depth;

    synchronized int enter(Gate gate, int x) {
      return enterAgain(gate, x) + 1;
    }

    synchronized int enterAgain(Gate gate, int x) {
      depth++;
      return gateInline1(gate, x);
    }
  }

  static int gateRecursive(Gate gate, int depth) {
    return depth == 0 ? gateInline3(gate, 1) : gateRecursive(gate, depth - 1) + 1;
  }

  /** On-stack replacement, with the lock taken before it. */
  static long gateLoop(Gate gate, Outer outer, int n) {
    long sum = 0;
    synchronized (outer) {
      for (int i = 0; i < n; i++) {
        sum += i ^ (sum >>> 3);
        if ((i & 1023) == 0) {
          sum += gateInline1(gate, i);
        }
      }
    }
    return sum;
  }

  abstract static class Shape {
    abstract int area(int x);
  }

  static final class Square extends Shape {
    @Override
    int area(int x) {
      return x * x;
    }
  }

  /** Loading it makes compiled code invalid that believed in Square alone. */
  static final class Circle extends Shape {
    @Override
    int area(int x) {
      return 3 * x * x;
    }
  }

  static int gateDeoptimized(Gate gate, Shape shape, Inner inner, int x) {
    int before = shape.area(x);
    synchronized (inner) {
      return before + gateInline2(gate, x) + shape.area(x + 1);
    }
  }

  static final class SlowInit {
    static int value = 1;

    static {
      block();
    }

    private static void block() {
      blockOnMonitor(true);
    }
  }

  interface WithDefault {
    default void call() {
      blockOnMonitor(true);
    }
  }

  static final class Waiter {
    synchronized void waitInside(Object inner) throws InterruptedException {
      synchronized (inner) {
        waitHere();
      }
    }

    synchronized void waitHere() throws InterruptedException {
      while (true) {
        wait();
      }
    }
  }

  public static void reflected() {
    blockOnMonitor(true);
  }

  static void start(String name, Body body) {
    Thread thread =
        new Thread(
            () -> {
              try {
                body.run();
              } catch (Throwable e) {
                throw new IllegalStateException(e);
              }
            },
            name);
    threads.add(thread);
    thread.start();
  }

  static void warmUp() throws InterruptedException {
    warmUpHot();
    warmUpGates(60_000);
    Thread.sleep(300); // what is being compiled
    warmUpGates(3_000);
  }

  static void warmUpHot() {
    Outer outer = new Outer();
    Inner inner = new Inner();
    for (int i = 0; i < 60_000; i++) {
      sink += hotTop(i, false) + hotNested(outer, inner, i, false) + hotRecursive(i & 15, false);
    }
    sink += hotLoop(false);
  }

  static void warmUpGates(int rounds) {
    Outer outer = new Outer();
    Inner inner = new Inner();
    Recursive recursive = new Recursive();
    Shape shape = new Square();
    for (int i = 0; i < rounds; i++) {
      Gate gate = openGates[i % openGates.length];
      sink += gateLocal(gate, i) + gateNested(gate, outer, inner, i) + gateStaticSynchronized(gate, i);
      sink += recursive.enter(gate, i) + gateRecursive(gate, i & 7);
      sink += gateDeoptimized(gate, shape, inner, i);
    }
    for (Gate gate : openGates) {
      sink += gateLoop(gate, outer, LOOPS);
    }
  }

  static void startCompiled() {
    Shape shape = new Square();
    start("gate-local", () -> sink += gateLocal(new BlockingGate(0), 1));
    start("gate-nested", () -> sink += gateNested(new BlockingGate(0), new Outer(), new Inner(), 1));
    start("gate-recursive-lock", () -> sink += new Recursive().enter(new BlockingGate(0), 1));
    start("gate-recursive", () -> sink += gateRecursive(new BlockingGate(0), 9));
    start("gate-loop", () -> sink += gateLoop(new BlockingGate(LOOPS / 2), new Outer(), LOOPS));
    start(
        "gate-deoptimized",
        () -> sink += gateDeoptimized(new BlockingGate(0), shape, new Inner(), 1));
    awaitBlocked("gate-deoptimized");
    sink += new Circle().area(2);
  }

  static void startWaiting() {
    Outer same = new Outer();
    start("wait-recursive", () -> waitTwice(same));
    start(
        "wait-levels",
        () -> {
          synchronized (new Inner()) {
            coldRecursive(
                5,
                () -> {
                  synchronized (new Held()) {
                    new Waiter().waitInside(new Inner());
                  }
                });
          }
        });
    Outer notified = new Outer();
    start(
        "wait-notified",
        () -> {
          synchronized (new Inner()) {
            waitOn(notified, 0);
          }
        });
    awaitState("wait-notified", Thread.State.WAITING);
    start(
        "notifier",
        () -> {
          synchronized (notified) {
            notified.notifyAll();
            never.await();
          }
        });
    start("class-init-running", () -> sink += SlowInit.value);
    awaitBlocked("class-init-running");
    start("class-init-waiting", () -> sink += SlowInit.value);
  }

  static void waitTwice(Outer same) throws InterruptedException {
    synchronized (same) {
      synchronized (same) {
        waitOn(same, 0);
      }
    }
  }

  static void awaitBlocked(String name) {
    awaitState(name, Thread.State.BLOCKED);
  }

  static void awaitState(String name, Thread.State state) {
    for (Thread thread : threads) {
      while (thread.getName().equals(name) && thread.getState() != state) {
        Thread.yield();
      }
    }
  }

  static void startAll() throws Exception {
    start(
        "holder",
        () -> {
          synchronized (held) {
            hashed.hashCode();
            synchronized (hashed) {
              lock.lock();
              readWrite.writeLock().lock();
              never.await();
            }
          }
        });
    Thread holder = threads.get(0);
    while (holder.getState() != Thread.State.WAITING) {
      Thread.yield();
    }
    Outer outer = new Outer();
    Inner inner = new Inner();
    start("hot-top", () -> sink += hotTop(1, true));
    start("hot-nested", () -> sink += hotNested(outer, inner, 1, true));
    start("hot-recursive", () -> sink += hotRecursive(12, true));
    start("hot-loop", () -> sink += hotLoop(true));
    start("static-synchronized", Mix::staticSynchronized);
    start("constructor", () -> new Constructed(new Inner()));
    start("default-method", () -> new WithDefault() {}.call());
    start("deep", () -> coldRecursive(150, () -> blockOnMonitor(true)));
    start(
        "hashed-monitor",
        () -> {
          synchronized (hashed) {
            sink++;
          }
        });
    start(
        "nested-same",
        () -> {
          Outer same = new Outer();
          synchronized (same) {
            synchronized (same) {
              synchronized (new Inner()) {
                lock.lock();
              }
            }
          }
        });
    start("wait", () -> waitOn(new Outer(), 0));
    start("wait-timed", () -> waitOn(new Outer(), 3_600_000L));
    start("wait-synchronized-method", () -> new Waiter().waitHere());
    start(
        "wait-holding-others",
        () -> {
          synchronized (new Inner()) {
            waitOn(new Outer(), 0);
          }
        });
    start("park-blocker", () -> parkForEver(new Outer()));
    start("park-plain", () -> parkForEver(null));
    start(
        "sleep-holding",
        () -> {
          synchronized (new Outer()) {
            Thread.sleep(3_600_000L);
          }
        });
    start("reentrant-lock", () -> lock.lock());
    start("write-lock", () -> readWrite.writeLock().lock());
    start("read-lock", () -> readWrite.readLock().lock());
    start(
        "condition",
        () -> {
          ReentrantLock own = new ReentrantLock();
          Condition changed = own.newCondition();
          own.lock();
          while (true) {
            changed.await();
          }
        });
    start("latch", () -> new CountDownLatch(1).await());
    start("semaphore", () -> new Semaphore(0).acquire());
    start("queue", () -> new LinkedBlockingQueue<Object>().take());
    start("synchronous-queue", () -> new SynchronousQueue<Object>().take());
    start("exchanger", () -> new Exchanger<Object>().exchange(inner));
    start("future", () -> new FutureTask<Object>(() -> null).get());
    start("completable-future", () -> new CompletableFuture<Object>().join());
    start("join", () -> holder.join());
    Method method = Mix.class.getMethod("reflected");
    start("reflection", () -> method.invoke(null));
    MethodHandle handle =
        MethodHandles.lookup()
            .findStatic(Mix.class, "reflected", MethodType.methodType(void.class));
    start(
        "method-handle",
        () -> {
          handle.invokeExact(); // a statement: as an expression it would have type Object
        });
    start(
        "comparator",
        () ->
            Arrays.asList("b", "a", "c")
                .sort(
                    (x, y) -> {
                      blockOnMonitor(true);
                      return x.compareTo(y);
                    }));
    ServerSocket server = new ServerSocket(0);
    start("accept", () -> server.accept());
  }

  static void parkForEver(Object blocker) {
    while (true) {
      LockSupport.park(blocker);
    }
  }

  /** Arguments: nothing, or the path of the library of mixnative.c. */
  public static void main(String[] args) throws Exception {
    if (args.length > 0) {
      MixNative.warmUp(args[0]);
    }
    warmUp();
    startAll();
    startCompiled();
    startWaiting();
    if (args.length > 0) {
      MixNative.startAll();
    }
    StackTraceElement[][] last = new StackTraceElement[threads.size()][];
    for (int quiet = 0; quiet < 10; quiet++) {
      for (int i = 0; i < last.length; i++) {
        StackTraceElement[] stack = threads.get(i).getStackTrace();
        if (stack.length == 0 || !Arrays.equals(stack, last[i])) {
          quiet = -1;
        }
        last[i] = stack;
      }
      Thread.sleep(100);
    }
    System.out.println("READY " + new File("/proc/self").getCanonicalFile().getName());
    System.out.flush();
    never.await();
  }
}
