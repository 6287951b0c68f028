// SPDX-License-Identifier: Apache-2.0
import java.io.File;

/** Two threads with hostile names in a deadlock. */
public final class Names {
  static final Object a = new Object();
  static final Object b = new Object();

  static void cross(Object first, Object second) {
    synchronized (first) {
      try {
        Thread.sleep(500);
      } catch (InterruptedException e) {
        return;
      }
      synchronized (second) {
        System.out.println("never");
      }
    }
  }

  public static void main(String[] args) throws Exception {
    Thread one = new Thread(() -> cross(a, b), "one\u001b[2J\u0007\nCLEAR  nothing found\r\u009b31m");
    Thread two = new Thread(() -> cross(b, a), "two\u202e\u0000\u007f\"</script>\\");
    one.start();
    two.start();
    while (one.getState() != Thread.State.BLOCKED || two.getState() != Thread.State.BLOCKED) {
      Thread.sleep(50);
    }
    System.out.println("READY " + new File("/proc/self").getCanonicalFile().getName());
    System.out.flush();
    one.join();
  }
}
