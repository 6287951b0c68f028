// SPDX-License-Identifier: Apache-2.0
package app;

import common.Ready;
import java.util.concurrent.CountDownLatch;
import reactor.tools.agent.ReactorDebugAgent;

/**
 * What the service of the incident did first: install Reactor's debug agent, then load its own
 * classes, while the threads of the tracer load theirs. Nothing here makes it hang.
 */
public final class Application {
  private Application() {}

  public static void main(String[] args) {
    // Loads all it needs now: after init() it could be caught in the hang itself.
    CountDownLatch initialized = new CountDownLatch(1);
    Ready.whenStuck(initialized, Thread.currentThread());
    ReactorDebugAgent.init();
    initialized.countDown();
    new Context().start();
    System.out.println("STARTED: no hang this time");
    Runtime.getRuntime().halt(0); // a service would serve now; the next start may hang
  }

  /** Stands for Spring's application context. */
  static final class Context {
    void start() {
      new Repository().open();
      new Controller().open();
    }
  }

  static class Bean {
    void open() {}
  }

  static final class Repository extends Bean {}

  static final class Controller extends Bean {}
}
