// SPDX-License-Identifier: Apache-2.0
import java.io.File;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;

/**
 * Threads that sleep in the same native function most of the time, now by one way, now by another. test_live_modes.py
 * knows the two: run, left, deeper, leftRead and run, right, rightRead.
 */
public final class Flip extends Thread {
  final InputStream in;

  Flip(InputStream in) {
    super("flip");
    this.in = in;
    setDaemon(true);
  }

  int leftRead(long a, long b) throws Exception {
    return in.read() + (int) (a + b);
  }

  int deeper(int depth) throws Exception {
    return depth == 0 ? leftRead(1, 2) : deeper(depth - 1) + 1;
  }

  int left() throws Exception {
    return deeper(7) + 1;
  }

  int rightRead() throws Exception {
    return in.read();
  }

  int right() throws Exception {
    return rightRead() + 2;
  }

  @Override
  public void run() {
    try {
      while (true) {
        left();
        right();
      }
    } catch (Exception e) {
      System.out.println(e);
      System.exit(1);
    }
  }

  public static void main(String[] args) throws Exception {
    OutputStream[] outs = new OutputStream[6];
    try (ServerSocket server = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      for (int i = 0; i < outs.length; i++) {
        outs[i] = new Socket(server.getInetAddress(), server.getLocalPort()).getOutputStream();
        new Flip(server.accept().getInputStream()).start();
      }
    }
    System.out.println("READY " + new File("/proc/self").getCanonicalFile().getName());
    System.out.flush();
    for (int i = 0; ; i++) {
      outs[i % outs.length].write(1);
      Thread.sleep(1);
    }
  }
}
