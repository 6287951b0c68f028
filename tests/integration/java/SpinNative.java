// SPDX-License-Identifier: Apache-2.0

/** Native methods of Spin (mixnative.c). */
final class SpinNative {
  private SpinNative() {}

  static native long step(int i);

  /** Calls Spin.calledBack(i) through JNI. */
  static native void callBack(int i);

  /** From now on the thread of that name spends half of its time in a signal handler. */
  static native void signalThread(String name);
}
