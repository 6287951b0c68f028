// SPDX-License-Identifier: Apache-2.0
package common;

import java.io.File;
import java.io.IOException;
import java.util.Arrays;
import java.util.concurrent.CountDownLatch;

/** Tells the outside when a sample has reached the state it was written for. */
public final class Ready {
  private static final int QUIET_POLLS = 10;
  private static final long POLL_MS = 100;

  private Ready() {}

  /** Prints READY and the PID once none of these threads has moved for a second. */
  public static void whenStuck(Thread... watched) {
    whenStuck(new CountDownLatch(0), watched);
  }

  /** The same, once the latch is down: until then they may rest. */
  public static void whenStuck(final CountDownLatch from, final Thread... watched) {
    Thread watchdog =
        new Thread(
            new Runnable() {
              @Override
              public void run() {
                try {
                  from.await();
                } catch (InterruptedException e) {
                  return;
                }
                watch(watched);
              }
            },
            "ready-watchdog");
    watchdog.setDaemon(true);
    watchdog.start();
  }

  /** Prints READY and the PID now. */
  public static void now() {
    try {
      // ProcessHandle is younger than the class-file release of the samples.
      System.out.println("READY " + new File("/proc/self").getCanonicalFile().getName());
    } catch (IOException e) {
      throw new IllegalStateException("cannot read /proc/self", e);
    }
    System.out.flush();
  }

  private static void watch(Thread[] watched) {
    StackTraceElement[][] last = new StackTraceElement[watched.length][];
    for (int quiet = 0; quiet < QUIET_POLLS; quiet++) {
      for (int i = 0; i < watched.length; i++) {
        StackTraceElement[] stack = watched[i].getStackTrace();
        if (stack.length == 0 || !Arrays.equals(stack, last[i])) {
          quiet = -1;
        }
        last[i] = stack;
      }
      try {
        Thread.sleep(POLL_MS);
      } catch (InterruptedException e) {
        return;
      }
    }
    now();
  }
}
