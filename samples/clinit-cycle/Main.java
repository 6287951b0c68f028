// SPDX-License-Identifier: Apache-2.0
import common.Ready;
import java.util.concurrent.CountDownLatch;

/** Two classes whose static initializers need each other, first used by two threads at once. */
public final class Main {
  static final class Orders {
    static final int LIMIT;

    static {
      meet();
      LIMIT = Customers.size() + 1;
    }

    static int size() {
      return LIMIT;
    }
  }

  static final class Customers {
    static final int LIMIT;

    static {
      meet();
      LIMIT = Orders.size() + 1;
    }

    static int size() {
      return LIMIT;
    }
  }

  private static final CountDownLatch bothInitializing = new CountDownLatch(2);

  private Main() {}

  static void meet() {
    bothInitializing.countDown();
    try {
      bothInitializing.await();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  public static void main(String[] args) throws InterruptedException {
    Thread orders = new Thread(() -> System.out.println(Orders.size()), "orders-loader");
    Thread customers = new Thread(() -> System.out.println(Customers.size()), "customers-loader");
    orders.start();
    customers.start();
    bothInitializing.await();
    Thread late = new Thread(() -> System.out.println(Orders.size()), "orders-reader");
    late.start();
    Ready.whenStuck(orders, customers, late);
    orders.join();
    customers.join();
  }
}
