// SPDX-License-Identifier: Apache-2.0
/** @file Native methods of MixNative and SpinNative. Only functions that every glibc has under its
 * oldest name: the library is loaded into JDKs whose libc is older than the one it is built with.
 */

#include <dirent.h>
#include <fcntl.h>
#include <jni.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void run(JNIEnv *env, jobject body)
{
	jclass cls = (*env)->GetObjectClass(env, body);
	jmethodID method = (*env)->GetMethodID(env, cls, "run", "()V");

	(*env)->CallVoidMethod(env, body, method);
}

JNIEXPORT void JNICALL Java_MixNative_call(JNIEnv *env, jclass cls, jobject body)
{
	(void)cls;
	run(env, body);
}

JNIEXPORT void JNICALL Java_MixNative_callLockedClass(JNIEnv *env, jclass cls, jobject body)
{
	(void)cls;
	run(env, body);
}

JNIEXPORT void JNICALL Java_MixNative_callLocked(JNIEnv *env, jobject self, jobject body)
{
	(void)self;
	run(env, body);
}

JNIEXPORT void JNICALL Java_MixNative_callEntered(JNIEnv *env, jclass cls, jobject lock,
                                                  jobject body)
{
	(void)cls;
	if ((*env)->MonitorEnter(env, lock) == 0) {
		run(env, body);
		(*env)->MonitorExit(env, lock);
	}
}

static void wait_for_ever(int signal)
{
	(void)signal;
	for (;;)
		pause();
}

JNIEXPORT void JNICALL Java_MixNative_waitInSignalHandler(JNIEnv *env, jclass cls,
                                                          jboolean own_stack)
{
	enum {
		STACK_SIZE = 64 * 1024
	};
	int number = own_stack ? SIGUSR1 : SIGWINCH;
	struct sigaction action = {.sa_handler = wait_for_ever,
	                           .sa_flags = own_stack ? SA_ONSTACK : 0};
	stack_t stack = {.ss_size = STACK_SIZE};

	(void)env, (void)cls;
	if (own_stack) {
		stack.ss_sp = malloc(STACK_SIZE);
		sigaltstack(&stack, NULL);
	}
	sigaction(number, &action, NULL);
	syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), number);
}

JNIEXPORT void JNICALL Java_MixNative_prepareCore(JNIEnv *env, jclass cls, jstring directory)
{
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	const char *path = (*env)->GetStringUTFChars(env, directory, NULL);

	if (chdir(path) != 0 || setrlimit(RLIMIT_CORE, &unlimited) != 0)
		(*env)->ThrowNew(env, (*env)->FindClass(env, "java/lang/IllegalStateException"),
		                 "the kernel would write no core");
	(*env)->ReleaseStringUTFChars(env, directory, path);
	(void)cls;
}

/** For an upcall through java.lang.foreign. */
void call_back(void (*function)(void));
void call_back(void (*function)(void))
{
	function();
}

// ---- SpinNative

JNIEXPORT jlong JNICALL Java_SpinNative_step(JNIEnv *env, jclass cls, jint i)
{
	(void)env, (void)cls;
	return i * 7L;
}

JNIEXPORT void JNICALL Java_SpinNative_callBack(JNIEnv *env, jclass cls, jint i)
{
	jclass spin = (*env)->FindClass(env, "Spin");
	jmethodID method = (*env)->GetStaticMethodID(env, spin, "calledBack", "(I)V");

	(void)cls;
	(*env)->CallStaticVoidMethod(env, spin, method, i);
	(*env)->DeleteLocalRef(env, spin);
}

static void handle_tick(int signal)
{
	(void)signal;
	for (volatile int i = 0; i < 1000000; i++)
		;
}

/** Thread id of the thread whose comm is @p name, or 0. */
static int find_thread_now(const char *name)
{
	enum {
		COMM = 16
	};
	char path[64], comm[COMM + 1];
	DIR *tasks = opendir("/proc/self/task");
	int found = 0;

	for (struct dirent *entry; !found && tasks && (entry = readdir(tasks));) {
		snprintf(path, sizeof(path), "/proc/self/task/%.20s/comm", entry->d_name);
		int fd = open(path, O_RDONLY);
		if (fd < 0)
			continue;
		ssize_t len = read(fd, comm, COMM);
		close(fd);
		if (len > 0 && (size_t)len == strlen(name) + 1 && !memcmp(comm, name, strlen(name)))
			found = atoi(entry->d_name);
	}
	if (tasks)
		closedir(tasks);
	return found;
}

/** The same; a thread that was just started gives itself its name. */
static int find_thread(const char *name)
{
	enum {
		ROUNDS = 1000,
		PAUSE_US = 10000
	};
	int tid = 0;

	for (int i = 0; i < ROUNDS && !tid; i++) {
		if (i)
			usleep(PAUSE_US);
		tid = find_thread_now(name);
	}
	return tid;
}

JNIEXPORT void JNICALL Java_SpinNative_signalThread(JNIEnv *env, jclass cls, jstring name)
{
	struct sigaction action = {.sa_handler = handle_tick, .sa_flags = SA_RESTART};
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGWINCH};
	struct itimerspec interval = {
		{0, 4000000},
                {0, 4000000}
        };
	const char *text = (*env)->GetStringUTFChars(env, name, NULL);
	int timer;

	(void)cls;
	event._sigev_un._tid = find_thread(text);
	(*env)->ReleaseStringUTFChars(env, name, text);
	sigaction(SIGWINCH, &action, NULL);
	if (!event._sigev_un._tid ||
	    syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer) != 0 ||
	    syscall(SYS_timer_settime, timer, 0, &interval, NULL) != 0)
		(*env)->ThrowNew(env, (*env)->FindClass(env, "java/lang/IllegalStateException"),
		                 "no timer for this thread");
}
