// SPDX-License-Identifier: Apache-2.0
package boot;

import common.Ready;
import java.io.File;
import java.lang.instrument.ClassFileTransformer;
import java.lang.instrument.IllegalClassFormatException;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.concurrent.CountDownLatch;

/**
 * A start-up hang as agents and boot loaders make it: "main" holds the lock of a class loader that is
 * not parallel capable and needs a class that "dd-trace-processor" is linking; linking that class
 * (class file version 49, so the old verifier) must load another class through the same loader.
 */
public final class Boot {
  /** Not registered as parallel capable, which is what makes the request of its subclass fail. */
  static class JarUrlClassLoader extends URLClassLoader {
    JarUrlClassLoader(URL[] urls, ClassLoader parent) {
      super(urls, parent);
    }
  }

  static final class LaunchedClassLoader extends JarUrlClassLoader {
    static {
      System.out.println("registered=" + ClassLoader.registerAsParallelCapable());
    }

    LaunchedClassLoader(URL[] urls, ClassLoader parent) {
      super(urls, parent);
    }

    @Override
    protected Class<?> findClass(String name) throws ClassNotFoundException {
      if (name.equals("app.RajinApplication")) {
        transform(name); // this loader's lock is held here
      }
      return super.findClass(name);
    }

    private void transform(String name) throws ClassNotFoundException {
      mainHoldsLoaderLock.countDown();
      awaitBlocked(processor); // in the verifier, at this loader's lock
      scheduler.start();
      telemetry.start();
      try {
        transformer.transform(this, name.replace('.', '/'), null, null, new byte[0]);
      } catch (IllegalClassFormatException e) {
        throw new ClassNotFoundException(name, e);
      }
    }
  }

  private static final CountDownLatch mainHoldsLoaderLock = new CountDownLatch(1);
  private static ClassFileTransformer transformer;
  private static Thread processor;
  private static Thread scheduler;
  private static Thread telemetry;

  private Boot() {}

  public static void main(String[] args) throws Exception {
    URL app = new File(args[0]).toURI().toURL();
    ClassLoader loader = new LaunchedClassLoader(new URL[] {app}, Boot.class.getClassLoader());
    loader.loadClass("app.ClassWriter"); // loaded, not yet linked
    transformer =
        (ClassFileTransformer)
            loader.loadClass("app.DebugTransformer").getDeclaredConstructor().newInstance();

    processor = user("dd-trace-processor");
    scheduler = user("dd-task-scheduler");
    telemetry = user("dd-telemetry");
    processor.start();
    Ready.whenStuck(Thread.currentThread(), processor, scheduler, telemetry);
    loader.loadClass("app.RajinApplication");
    System.out.println("started");
  }

  /** A thread that needs app.ClassWriter as soon as main holds the loader's lock. */
  private static Thread user(String name) {
    Thread thread =
        new Thread(
            () -> {
              try {
                mainHoldsLoaderLock.await();
                transformer.transform(null, "app/Traced", null, null, new byte[0]);
              } catch (InterruptedException | IllegalClassFormatException e) {
                throw new IllegalStateException(e);
              }
            },
            name);
    thread.setDaemon(true);
    return thread;
  }

  private static void awaitBlocked(Thread thread) {
    while (thread.getState() != Thread.State.BLOCKED) {
      Thread.yield();
    }
  }
}
