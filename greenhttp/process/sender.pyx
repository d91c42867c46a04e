"""Who has sent a signal, as far as the kernel tells: sigaction(2), SA_SIGINFO.

    watch([signal.SIGTERM, ...])    after Python's own handlers stand
    sender(signal.SIGTERM)      ->  (process, user) of the last one, or None

Python's handlers learn the number alone. Here a handler in C notes the rest and then calls the one that was there.
"""

import os
import pwd

cdef extern from *:
    """
    #include <signal.h>
    #include <string.h>
    #define GREENHTTP_SIGNALS 65        /* Linux has 64, others fewer */

    typedef struct { volatile int known; volatile long pid; volatile long uid; } greenhttp_sent;
    static greenhttp_sent greenhttp_last[GREENHTTP_SIGNALS];
    static void (*greenhttp_before[GREENHTTP_SIGNALS])(int);

    static int greenhttp_by_a_process(const siginfo_t *info)
    {
        if (info == NULL) return 0;
    #ifdef SI_TKILL
        if (info->si_code == SI_TKILL) return 1;
    #endif
        return info->si_code == SI_USER || info->si_code == SI_QUEUE;
    }

    /* Stores and one call, nothing else: a signal may arrive anywhere. */
    static void greenhttp_note(int number, siginfo_t *info, void *context)
    {
        (void)context;
        greenhttp_sent *sent = &greenhttp_last[number];
        sent->known = 0;
        if (greenhttp_by_a_process(info)) {
            sent->pid = (long)info->si_pid;
            sent->uid = (long)info->si_uid;
            sent->known = 1;
        }
        greenhttp_before[number](number);
    }

    static int greenhttp_watch(int number)
    {
        struct sigaction action;
        if (number < 1 || number >= GREENHTTP_SIGNALS || sigaction(number, NULL, &action) < 0) return -1;
        greenhttp_last[number].known = 0;
        if (action.sa_flags & SA_SIGINFO) return 0;
        if (action.sa_handler == SIG_IGN || action.sa_handler == SIG_DFL) return 0;
        greenhttp_before[number] = action.sa_handler;
        action.sa_sigaction = greenhttp_note;
        action.sa_flags |= SA_SIGINFO;
        return sigaction(number, &action, NULL);
    }

    static int greenhttp_take(int number, long *pid, long *uid)
    {
        if (number < 1 || number >= GREENHTTP_SIGNALS || !greenhttp_last[number].known) return 0;
        *pid = greenhttp_last[number].pid;
        *uid = greenhttp_last[number].uid;
        greenhttp_last[number].known = 0;
        return 1;
    }
    """
    int greenhttp_watch(int number)
    int greenhttp_take(int number, long* pid, long* uid)


def watch(numbers):
    """Note from now on who sends these, until Python's handler of one is set anew.

    What is ignored or has no handler of Python's is passed over. Raises OSError for a number that is no signal.
    """
    for number in numbers:
        if greenhttp_watch(number) < 0:
            raise OSError(f"{number} is not a signal that can be watched")


def sender(int number):
    """Numbers of the process and of its user that have sent the last signal of this kind; it is told once.

    None: nobody has sent one since the last call, or it was no process (a terminal's Ctrl-C, a timer of the kernel).
    Process 0 is one that cannot be seen from here: outside of the container.
    """
    cdef long pid = 0, uid = 0
    if not greenhttp_take(number, &pid, &uid):
        return None
    return pid, uid


def described(int pid, long uid):
    """Those numbers for people: `process 812 (kill) of user root`. A process that has ended has no name any more."""
    if pid == 0:
        return "a process outside of this container"
    name = ""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            name = f" ({file.read().strip()})"
    except OSError:
        pass
    try:
        user = pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        user = str(uid)
    own = " itself" if pid == os.getpid() else ""
    return f"process {pid}{name}{own} of user {user}"
