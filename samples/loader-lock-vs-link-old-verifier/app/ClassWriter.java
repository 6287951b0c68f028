// SPDX-License-Identifier: Apache-2.0
package app;

/** Its verification must merge two types, so it loads Left, Right and Base. */
public class ClassWriter {
  public Base field;

  public void merge(boolean left) {
    Base item;
    if (left) {
      item = new Left();
    } else {
      item = new Right();
    }
    field = item;
    item.go();
  }
}

class Base {
  void go() {}
}

class Left extends Base {}

class Right extends Base {}
