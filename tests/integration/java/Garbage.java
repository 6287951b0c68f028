// SPDX-License-Identifier: Apache-2.0
import java.util.concurrent.CountDownLatch;

/** Two threads in a deadlock, while main keeps the garbage collector busy: most of the time it runs. */
public class Garbage {
    static final Object FIRST = new Object(), SECOND = new Object();
    static final CountDownLatch BOTH = new CountDownLatch(2);
    static Object[] live = new Object[200_000];

    static void lock(Object mine, Object other) {
        synchronized (mine) {
            BOTH.countDown();
            try {
                BOTH.await();
            } catch (InterruptedException e) {
                return;
            }
            synchronized (other) {
                System.out.println("never");
            }
        }
    }

    public static void main(String[] args) throws Exception {
        Thread one = new Thread(() -> lock(FIRST, SECOND), "one");
        Thread two = new Thread(() -> lock(SECOND, FIRST), "two");
        one.setDaemon(true);
        two.setDaemon(true);
        one.start();
        two.start();
        BOTH.await();
        Thread.sleep(500);
        System.out.println("READY " + args[0]);
        for (int i = 0;; i = (i + 1) % live.length) {
            live[i] = new byte[100];
            if (i == 0)
                System.gc(); // moves objects
        }
    }
}
