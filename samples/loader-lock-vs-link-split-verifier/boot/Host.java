// SPDX-License-Identifier: Apache-2.0
package boot;

import common.Ready;
import java.io.File;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.concurrent.CountDownLatch;

/**
 * The same cycle with an ordinary class file (version 52, split verifier): checking that a Report can
 * be stored in a field of type Document must load Document through the loader. This loader never
 * asked to be parallel capable.
 */
public final class Host {
  static final class PluginClassLoader extends URLClassLoader {
    PluginClassLoader(URL[] urls, ClassLoader parent) {
      super(urls, parent);
    }

    @Override
    protected Class<?> findClass(String name) throws ClassNotFoundException {
      if (name.equals("app.Plugin")) {
        mainHoldsLoaderLock.countDown();
        while (worker.getState() != Thread.State.BLOCKED) { // in the verifier, at this loader's lock
          Thread.yield();
        }
        follower.start();
        starter.run();
      }
      return super.findClass(name);
    }
  }

  private static final CountDownLatch mainHoldsLoaderLock = new CountDownLatch(1);
  private static Runnable starter;
  private static Thread worker;
  private static Thread follower;

  private Host() {}

  public static void main(String[] args) throws Exception {
    URL app = new File(args[0]).toURI().toURL();
    ClassLoader loader = new PluginClassLoader(new URL[] {app}, Host.class.getClassLoader());
    loader.loadClass("app.Renderer"); // loaded, not yet linked
    starter = (Runnable) loader.loadClass("app.Starter").getDeclaredConstructor().newInstance();
    worker = user("render-worker-1");
    follower = user("render-worker-2");
    worker.start();
    Ready.whenStuck(Thread.currentThread(), worker, follower);
    loader.loadClass("app.Plugin");
    System.out.println("started");
  }

  private static Thread user(String name) {
    Thread thread =
        new Thread(
            () -> {
              try {
                mainHoldsLoaderLock.await();
              } catch (InterruptedException e) {
                return;
              }
              starter.run();
            },
            name);
    thread.setDaemon(true);
    return thread;
  }
}
