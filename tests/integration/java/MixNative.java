// SPDX-License-Identifier: Apache-2.0
import java.io.File;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.reflect.Array;
import java.lang.reflect.Method;

/** The threads of Mix that pass through native code (mixnative.c). */
final class MixNative {
  private MixNative() {}

  /** Calls {@code body.run()} through JNI. */
  static native void call(Mix.Body body);

  static synchronized native void callLockedClass(Mix.Body body);

  synchronized native void callLocked(Mix.Body body);

  /** Holds the lock of an object with MonitorEnter, which no frame shows. */
  static native void callEntered(Object lock, Mix.Body body);

  /** Never returns: sends a signal to itself, whose handler waits for ever. */
  static native void waitInSignalHandler(boolean ownStack);

  /** Where a kernel core goes: current directory, and no limit of its size. */
  static native void prepareCore(String directory);

  private static final MixNative INSTANCE = new MixNative();

  static void warmUp(String library) {
    System.load(library);
    String directory = System.getProperty("mix.core");
    if (directory != null) {
      prepareCore(directory);
    }
    for (int i = 0; i < 12_000; i++) {
      call(() -> Mix.sink++);
      callLockedClass(() -> Mix.sink++);
      INSTANCE.callLocked(() -> Mix.sink++);
    }
    upcall = downcall(library, MixNative.class, "block");
  }

  /** Calls the static method {@code name} from C; null on releases that cannot do that. */
  static MethodHandle downcall(String library, Class<?> cls, String name) {
    try {
      return downcallOf(
          library,
          MethodHandles.lookup().findStatic(cls, name, MethodType.methodType(void.class)));
    } catch (ReflectiveOperationException | LinkageError e) {
      return null; // before 21
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
  }

  static void startAll() {
    start("jni", () -> call(MixNative::block));
    start("jni-nested", () -> Mix.coldRecursive(3, () -> call(() -> call(MixNative::block))));
    start("jni-locked-class", () -> callLockedClass(MixNative::block));
    start("jni-locked-class-enter", () -> callLockedClass(MixNative::block));
    start("jni-locked", () -> INSTANCE.callLocked(MixNative::block));
    start("jni-locked-enter", () -> INSTANCE.callLocked(MixNative::block));
    start("jni-locked-twice", () -> nested(new MixNative()));
    start("jni-entered", () -> callEntered(new Mix.Outer(), MixNative::block));
    start("signal-handler", () -> waitInSignalHandler(false));
    start("signal-handler-own-stack", () -> waitInSignalHandler(true));
    if (upcall != null) {
      start("upcall", () -> upcall.invoke());
    }
  }

  private static void start(String name, Mix.Body body) {
    Mix.start(name, body);
    if (name.equals("jni-locked-class") || name.equals("jni-locked")) {
      Mix.awaitBlocked(name);
    }
  }

  static void nested(MixNative locked) {
    synchronized (locked) {
      locked.callLocked(MixNative::block);
    }
  }

  static void block() {
    Mix.blockOnMonitor(true);
  }

  // ---- java.lang.foreign of 21+, by reflection: these classes run on 8

  private static MethodHandle upcall;

  /** Calls the C function call_back(void (*)(void)) with a stub that calls {@code target}. */
  private static MethodHandle downcallOf(String library, MethodHandle target) throws Throwable {
    Class<?> linkerClass = Class.forName("java.lang.foreign.Linker");
    Class<?> arenaClass = Class.forName("java.lang.foreign.Arena");
    Class<?> layoutClass = Class.forName("java.lang.foreign.MemoryLayout");
    Class<?> segmentClass = Class.forName("java.lang.foreign.MemorySegment");
    Class<?> descriptorClass = Class.forName("java.lang.foreign.FunctionDescriptor");
    Class<?> lookupClass = Class.forName("java.lang.foreign.SymbolLookup");
    Object linker = linkerClass.getMethod("nativeLinker").invoke(null);
    Object arena = arenaClass.getMethod("global").invoke(null);
    Object none = Array.newInstance(layoutClass, 0);
    Object pointers = Array.newInstance(layoutClass, 1);
    Array.set(
        pointers, 0, Class.forName("java.lang.foreign.ValueLayout").getField("ADDRESS").get(null));
    Method ofVoid = descriptorClass.getMethod("ofVoid", none.getClass());
    Object options =
        Array.newInstance(Class.forName("java.lang.foreign.Linker$Option"), 0);

    Object lookup =
        lookupClass
            .getMethod("libraryLookup", String.class, arenaClass)
            .invoke(null, new File(library).getPath(), arena);
    Object found = lookupClass.getMethod("find", String.class).invoke(lookup, "call_back");
    Object function = found.getClass().getMethod("get").invoke(found);
    Object stub =
        linkerClass
            .getMethod(
                "upcallStub", MethodHandle.class, descriptorClass, arenaClass, options.getClass())
            .invoke(linker, target, ofVoid.invoke(null, none), arena, options);
    MethodHandle downcall =
        (MethodHandle)
            linkerClass
                .getMethod("downcallHandle", segmentClass, descriptorClass, options.getClass())
                .invoke(linker, function, ofVoid.invoke(null, pointers), options);
    return downcall.bindTo(stub);
  }
}
