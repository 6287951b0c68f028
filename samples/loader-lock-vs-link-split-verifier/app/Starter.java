// SPDX-License-Identifier: Apache-2.0
package app;

public class Starter implements Runnable {
  @Override
  public void run() {
    new Renderer();
  }
}
