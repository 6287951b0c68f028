// SPDX-License-Identifier: Apache-2.0

import java.io.IOException;
import java.io.RandomAccessFile;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;

/**
 * The benchmark's target: ManyThreads THREADS DEPTH HEARTBEAT_FILE [LIVE_MB]. Threads blocked in eight
 * ways, about DEPTH frames deep, one third of them in interpreted code. A heartbeat thread measures
 * the longest gap of a 1 ms tick in a mapped file: word 0 is the longest gap in ns; writing non-zero to
 * word 1 resets it.
 */
public class ManyThreads {
    static final Object MONITOR = new Object();
    static final ReentrantLock LOCK = new ReentrantLock();
    static final AtomicInteger READY = new AtomicInteger();
    static volatile int sink;
    static ServerSocket server;
    static byte[][] live;

    interface Step {
        int go(int depth, int role, Object own);
    }

    static final Step[] STEPS = {
        (depth, role, own) -> depth <= 0 ? block(role, own) : 1 + compiled(depth - 1, role, own),
        (depth, role, own) -> depth <= 0 ? block(role, own) : 2 + compiledToo(depth - 1, role, own, depth),
    };

    static int compiled(int depth, int role, Object own) {
        return depth <= 0 ? block(role, own) : STEPS[depth & 1].go(depth - 1, role, own) + 1;
    }

    static int compiledToo(int depth, int role, Object own, int more) {
        if (depth <= 0) {
            return block(role, own);
        }
        return STEPS[depth >> 1 & 1].go(depth - 1, role, own) + more * depth;
    }

    /** Excluded from compilation on the command line. */
    static int interpreted(int depth, int role, Object own) {
        return depth <= 0 ? block(role, own) : interpretedToo(depth - 1, role, own) + 1;
    }

    static int interpretedToo(int depth, int role, Object own) {
        return depth <= 0 ? block(role, own) : interpreted(depth - 1, role, own) + 2;
    }

    static int block(int role, Object own) {
        if (role < 0) {
            return sink;
        }
        READY.incrementAndGet();
        try {
            switch (role) {
                case 0: synchronized (MONITOR) { sink++; } break;
                case 1: LOCK.lock(); LOCK.unlock(); break;
                case 2: while (true) { LockSupport.park(own); }
                case 3: Thread.sleep(1_000_000_000L); break;
                case 4: synchronized (own) { while (true) { own.wait(); } }
                case 5:
                    try (Socket s = new Socket(InetAddress.getLoopbackAddress(), server.getLocalPort())) {
                        s.getInputStream().read();
                    }
                    break;
                case 6: new CountDownLatch(1).await(); break;
                default: new LinkedBlockingQueue<Object>().take();
            }
        } catch (InterruptedException | IOException e) {
            throw new IllegalStateException(e);
        }
        return 0;
    }

    static void heartbeat(String file) throws IOException {
        MappedByteBuffer words;
        try (RandomAccessFile f = new RandomAccessFile(file, "rw")) {
            f.setLength(4096);
            words = f.getChannel().map(FileChannel.MapMode.READ_WRITE, 0, 4096);
        }
        words.order(ByteOrder.LITTLE_ENDIAN);
        Thread t = new Thread(() -> {
            long last = System.nanoTime();
            while (true) {
                LockSupport.parkNanos(1_000_000L);
                long now = System.nanoTime();
                if (words.getLong(8) != 0) {
                    words.putLong(0, 0);
                    words.putLong(8, 0);
                } else if (now - last > words.getLong(0)) {
                    words.putLong(0, now - last);
                }
                last = now;
            }
        }, "heartbeat");
        t.setDaemon(true);
        t.setPriority(Thread.MAX_PRIORITY);
        t.start();
    }

    static void fillHeap(int megabytes) {
        live = new byte[megabytes * 64][];
        for (int i = 0; i < live.length; i++) {
            live[i] = new byte[(1 << 14) - 16];
            for (int k = 0; k < live[i].length; k += 512) {
                live[i][k] = (byte) (k >> 9 | 1);
            }
        }
    }

    public static void main(String[] args) throws Exception {
        int threads = Integer.parseInt(args[0]);
        int depth = Integer.parseInt(args[1]);

        fillHeap(args.length > 3 ? Integer.parseInt(args[3]) : 0);
        server = new ServerSocket(0, 4000, InetAddress.getLoopbackAddress());
        List<Socket> accepted = Collections.synchronizedList(new ArrayList<>());
        Thread acceptor = new Thread(() -> {
            try {
                while (true) {
                    accepted.add(server.accept());
                }
            } catch (IOException e) {
                throw new IllegalStateException(e);
            }
        }, "acceptor");
        acceptor.setDaemon(true);
        acceptor.start();
        for (int i = 0; i < 30000; i++) {
            sink += compiled(i % 40, -1, null) + compiledToo(i % 40, -1, null, i);
        }
        heartbeat(args[2]);
        CountDownLatch held = new CountDownLatch(1);
        new Thread(() -> {
            synchronized (MONITOR) {
                LOCK.lock();
                held.countDown();
                LockSupport.parkNanos(Long.MAX_VALUE);
            }
        }, "holder").start();
        held.await();
        for (int i = 0; i < threads; i++) {
            int role = i % 8;
            int kind = i / 8 % 3;
            int d = Math.max(1, depth - 20 + i * 7 % 41);
            Object own = new Object();
            new Thread(null, () -> {
                if (kind == 0) {
                    interpreted(d, role, own);
                } else if (kind == 1) {
                    compiled(d, role, own);
                } else {
                    compiledToo(d, role, own, 3);
                }
            }, "worker-" + i, 192 * 1024).start();
        }
        while (READY.get() < threads) {
            Thread.sleep(20);
        }
        Thread.sleep(500);
        System.out.println("READY " + ProcessHandle.current().pid());
        Thread.sleep(Long.MAX_VALUE);
    }
}
