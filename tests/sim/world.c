/* The system as one world sees it: sockets, clocks and signals, answered for in memory.

   Loaded by LD_PRELOAD. Calls on descriptors below BASE, and all calls before `world_begin`, go to the real functions.
   No Python runs in here. What a call does - how many bytes it moves, whether it is interrupted, whether the buffer is
   full - comes from a generator seeded by the world, so the same calls in the same order have the same results.

   The other side of each connection is driven by `world_*`: tests/sim/native.py. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  /* <poll.h> calls what poll() is given write-only */

#define BASE (1 << 20)
#define MOST 4096                   /* descriptors; also connections ever made in one world */
#define TRACES (1 << 20)
#define READ 1
#define WRITE 2
#define CORKED 200000000            /* ns that Linux holds bytes back that were sent with MSG_MORE (tcp(7)) */

enum { ACCEPT = 1, RECV, SEND, SENDFILE, CLOSE, SHUTDOWN, POLL, OUTQ, OPTION, CLOCK, SIGNAL, NOTE, KINDS };

struct buffer { char *data; size_t at, end, room; };

struct connection {
    int fd;                         /* 0: not accepted, or closed by the server */
    int family;
    struct buffer in, out;          /* what the client has sent; what the system holds for it */
    size_t most;                    /* of `out` */
    size_t corked;                  /* of `out`, at its end */
    int64_t cork_until;
    char in_end, out_end;           /* the client, the server has finished sending */
    char reset;                     /* the client has reset; 2: the server was told */
    char broken;                    /* the server has reset */
    char linger_zero;
    char closed;                    /* the server has closed */
    char lazy;                      /* the client reads when it likes, not when something has come */
    char done;                      /* the client knows the end */
    int64_t consumed;               /* bytes that the server has taken */
    int64_t closed_at;
};

struct trace { int64_t now, result; int32_t subject; int32_t kind; };

static struct connection connections[MOST];
static int table[MOST];             /* of a descriptor: its connection + 1 */
static int interest[MOST];
static int made, lowest, reuse, top;
static int queue[MOST], queue_at, queue_end, listener = -1;
static int64_t now, realtime_offset, coarse = 4000000;
static uint64_t state;
static int on;
static unsigned short_sends, interrupts, refusals, full;    /* chances in 1024 */
static int64_t signal_at = -1, calls;
static int64_t spoil_at = -1, given;   /* bytes from the server; that one is changed */
static int signal_number;
static uint64_t digest;
static struct trace traces[TRACES];
static int64_t traced;
static int64_t counters[KINDS];
static int findings[8];             /* see FINDINGS in native.py */
static uint64_t random_state = 1;   /* of what OpenSSL draws: by itself, so that what it needs changes nothing else */

enum { TWICE_CLOSED, CLOSED_USED, WATCHED_CLOSE, WATCH_CLOSED };

/* ---- chance and trace */

static uint64_t chance(void) {      /* xorshift64* */
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 2685821657736338717ULL;
}

static int happens(unsigned in_1024) { return in_1024 && (chance() >> 20 & 1023) < in_1024; }

static void trace(int kind, int subject, int64_t result) {
    struct trace *t = &traces[traced++ % TRACES];
    uint64_t words[3] = {(uint64_t)now, (uint64_t)result, (uint64_t)(uint32_t)subject << 32 | (uint32_t)kind};
    t->now = now;
    t->result = result;
    t->subject = subject;
    t->kind = kind;
    for (int i = 0; i < 3; i++)
        digest = (digest ^ words[i]) * 1099511628211ULL ^ digest >> 29;
}

/* Every call that the server makes of the world: where a signal may arrive, and time passes. */
static void call(int kind) {
    counters[kind]++;
    now += 1000;
    if (calls++ == signal_at) {
        signal_at = -1;
        trace(SIGNAL, signal_number, calls);
        raise(signal_number);
    }
}

/* ---- the real functions */

#define REAL(name) static __typeof__(&name) real_##name
REAL(clock_gettime); REAL(time); REAL(recv); REAL(send); REAL(sendmsg); REAL(accept4); REAL(poll); REAL(close);
REAL(shutdown); REAL(setsockopt);
static int (*real_gettimeofday)(struct timeval *, void *);
static ssize_t (*real_sendfile)(int, int, off_t *, size_t);
static int (*real_ioctl)(int, unsigned long, void *);

static void find(void) {
#define FIND(name) real_##name = (void *)dlsym(RTLD_NEXT, #name)
    FIND(clock_gettime); FIND(time); FIND(gettimeofday); FIND(recv); FIND(send); FIND(sendmsg); FIND(sendfile);
    FIND(accept4); FIND(poll); FIND(close); FIND(shutdown); FIND(ioctl); FIND(setsockopt);
}

/* Some are called before any constructor has run: all are looked up when the first is needed. */
#define ELSE(name) (real_##name ? (void)0 : find(), real_##name)

static int ours(int fd) { return on && fd >= BASE && fd < BASE + MOST; }

static struct connection *of(int fd) {
    int which = table[fd - BASE];
    if (which > 0)
        return &connections[which - 1];
    findings[CLOSED_USED]++;
    errno = EBADF;
    return NULL;
}

/* ---- clocks */

static int64_t moment(clockid_t id) {
    int64_t t = id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE ? now + realtime_offset : now;
    if (id == CLOCK_MONOTONIC_COARSE || id == CLOCK_REALTIME_COARSE)
        t -= t % coarse;
    return t;
}

int clock_gettime(clockid_t id, struct timespec *t) {
    if (!on || id == CLOCK_PROCESS_CPUTIME_ID || id == CLOCK_THREAD_CPUTIME_ID)
        return ELSE(clock_gettime)(id, t);
    counters[CLOCK]++;
    int64_t n = moment(id);
    t->tv_sec = n / 1000000000;
    t->tv_nsec = n % 1000000000;
    return 0;
}

time_t time(time_t *t) {
    if (!on)
        return ELSE(time)(t);
    time_t seconds = moment(CLOCK_REALTIME_COARSE) / 1000000000;
    if (t)
        *t = seconds;
    return seconds;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    if (!on)
        return ELSE(gettimeofday)(t, zone);
    int64_t n = moment(CLOCK_REALTIME);
    t->tv_sec = n / 1000000000;
    t->tv_usec = n % 1000000000 / 1000;
    return 0;
}

/* ---- bytes */

static void put(struct buffer *b, const char *data, size_t size) {
    if (b->at == b->end)
        b->at = b->end = 0;
    if (b->end + size > b->room) {
        if (b->at) {
            memmove(b->data, b->data + b->at, b->end - b->at);
            b->end -= b->at;
            b->at = 0;
        }
        if (b->end + size > b->room) {
            b->room = (b->end + size) * 2;
            b->data = realloc(b->data, b->room);
            if (!b->data)
                abort();
        }
    }
    memcpy(b->data + b->end, data, size);
    b->end += size;
}

/* What the server sends. */
static void give(struct connection *c, const char *data, size_t size) {
    put(&c->out, data, size);
    if (spoil_at >= given && spoil_at < given + (int64_t)size)
        c->out.data[c->out.end - size + (spoil_at - given)] ^= 1;
    given += size;
}

static size_t length(struct buffer *b) { return b->end - b->at; }

static size_t space(struct connection *c) { return length(&c->out) < c->most ? c->most - length(&c->out) : 0; }

static ssize_t received(int fd, void *into, size_t size, int flags) {
    struct connection *c = of(fd);
    if (!c)
        return -1;
    size_t n = length(&c->in);
    if (happens(interrupts)) {
        errno = EINTR;
        return -1;
    }
    if (c->reset && (n == 0 || c->reset == 2 || chance() & 1)) {
        c->in.at = c->in.end;
        c->in_end = 1;
        if (c->reset == 2)
            return 0;
        c->reset = 2;
        errno = ECONNRESET;
        return -1;
    }
    if (n == 0) {
        if (c->in_end)
            return 0;
        errno = EAGAIN;
        return -1;
    }
    if (n > size)
        n = size;
    if (n > 1 && happens(short_sends))
        n = 1 + chance() % n;
    memcpy(into, c->in.data + c->in.at, n);
    if (!(flags & MSG_PEEK)) {
        c->in.at += n;
        c->consumed += n;
    }
    return n;
}

ssize_t recv(int fd, void *into, size_t size, int flags) {
    if (!ours(fd))
        return ELSE(recv)(fd, into, size, flags);
    call(RECV);
    ssize_t n = received(fd, into, size, flags);
    int error = errno;
    trace(RECV, fd, n < 0 ? -error : n);
    errno = error;
    return n;
}

ssize_t __recv_chk(int fd, void *into, size_t size, size_t room, int flags) {
    (void)room;
    return recv(fd, into, size, flags);
}

/* How many of `size` bytes the system takes now; -1 with errno. */
static ssize_t accepted(struct connection *c, size_t size) {
    if (!c)
        return -1;
    if (happens(interrupts)) {
        errno = EINTR;
        return -1;
    }
    if (c->reset || c->out_end) {
        errno = c->reset == 1 ? ECONNRESET : EPIPE;
        if (c->reset)
            c->reset = 2;
        return -1;
    }
    size_t room = space(c);
    if (room == 0 || (length(&c->out) && happens(full))) {
        errno = EAGAIN;
        return -1;
    }
    if (size > room)
        size = room;
    if (size > 1 && happens(short_sends))
        size = 1 + chance() % size;
    return size;
}

static void cork(struct connection *c, int flags, ssize_t n) {
    if (n < 0)
        return;
    c->corked = flags & MSG_MORE ? c->corked + n : 0;
    if (flags & MSG_MORE)
        c->cork_until = now + CORKED;
}

ssize_t send(int fd, const void *data, size_t size, int flags) {
    if (!ours(fd))
        return ELSE(send)(fd, data, size, flags);
    call(SEND);
    struct connection *c = of(fd);
    ssize_t n = accepted(c, size);
    int error = errno;
    if (n > 0)
        give(c, data, n);
    if (c)
        cork(c, flags, n);
    trace(SEND, fd, n < 0 ? -error : n);
    errno = error;
    return n;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    if (!ours(fd))
        return ELSE(sendmsg)(fd, message, flags);
    call(SEND);
    struct connection *c = of(fd);
    size_t size = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++)
        size += message->msg_iov[i].iov_len;
    ssize_t n = accepted(c, size);
    int error = errno;
    ssize_t left = n;
    for (size_t i = 0; left > 0; i++) {
        size_t piece = message->msg_iov[i].iov_len;
        if ((ssize_t)piece > left)
            piece = left;
        give(c, message->msg_iov[i].iov_base, piece);
        left -= piece;
    }
    if (c)
        cork(c, flags, n);
    trace(SEND, fd, n < 0 ? -error : n);
    errno = error;
    return n;
}

ssize_t sendfile(int fd, int file, off_t *offset, size_t size) {
    if (!ours(fd))
        return ELSE(sendfile)(fd, file, offset, size);
    static char block[65536];
    call(SENDFILE);
    struct connection *c = of(fd);
    if (size > sizeof block)
        size = sizeof block;
    ssize_t n = accepted(c, size);
    if (n > 0) {
        n = pread(file, block, n, *offset);
        if (n > 0) {
            give(c, block, n);
            *offset += n;
        }
    }
    int error = errno;
    if (c)
        cork(c, 0, n);
    trace(SENDFILE, fd, n < 0 ? -error : n);
    errno = error;
    return n;
}

ssize_t sendfile64(int fd, int file, off64_t *offset, size_t size) { return sendfile(fd, file, offset, size); }

/* ---- descriptors */

static int descriptor(int which) {
    int at = lowest;
    while (at < MOST && table[at])
        at++;
    if (at == MOST) {
        errno = EMFILE;
        return -1;
    }
    table[at] = which;
    if (!reuse)
        lowest = at + 1;
    if (at >= top)
        top = at + 1;
    interest[at] = 0;
    return BASE + at;
}

int accept4(int fd, struct sockaddr *peer, socklen_t *size, int flags) {
    if (!ours(fd))
        return ELSE(accept4)(fd, peer, size, flags);
    call(ACCEPT);
    int result = -1, error = EAGAIN;
    if (fd != listener) {
        of(fd);
        error = EBADF;
    } else if (queue_at < queue_end) {
        int which = queue[queue_at];
        struct connection *c = &connections[which];
        if (happens(refusals))
            error = chance() & 1 ? EMFILE : EINTR;
        else {
            queue_at++;
            if (c->reset && chance() & 1)
                error = ECONNABORTED;
            else if ((result = descriptor(which + 1)) < 0)
                error = errno;
            else {
                c->fd = result;
                if (c->family == AF_INET) {
                    struct sockaddr_in *a = (struct sockaddr_in *)peer;
                    a->sin_family = AF_INET;
                    a->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
                    a->sin_port = htons(10000 + which);
                    *size = sizeof *a;
                } else if (c->family == AF_INET6) {
                    struct sockaddr_in6 *a = (struct sockaddr_in6 *)peer;
                    memset(a, 0, sizeof *a);
                    a->sin6_family = AF_INET6;
                    a->sin6_addr.s6_addr[15] = 1;
                    a->sin6_port = htons(10000 + which);
                    *size = sizeof *a;
                } else {
                    peer->sa_family = AF_UNIX;
                    *size = sizeof peer->sa_family;
                }
            }
        }
    }
    trace(ACCEPT, fd, result < 0 ? -error : result);
    errno = error;
    return result;
}

static int heard(int fd) {
    if (fd == listener)
        return queue_at < queue_end ? POLLIN : 0;
    int which = table[fd - BASE];
    if (which <= 0)
        return POLLNVAL;
    struct connection *c = &connections[which - 1];
    int events = 0;
    if (length(&c->in) || c->in_end || c->reset)
        events |= POLLIN;
    if (c->reset || c->out_end || space(c) * 3 >= c->most)
        events |= POLLOUT;
    if (c->reset)
        events |= POLLERR | POLLHUP;
    if (c->in_end && c->out_end)
        events |= POLLHUP;
    return events;
}

int poll(struct pollfd *fds, nfds_t count, int timeout) {
    if (count != 1 || !ours(fds->fd))
        return ELSE(poll)(fds, count, timeout);
    call(POLL);
    if (fds->fd != listener)
        of(fds->fd);
    fds->revents = heard(fds->fd) & (fds->events | POLLERR | POLLHUP | POLLNVAL);
    trace(POLL, fds->fd, fds->revents);
    return fds->revents != 0;
}

int __poll_chk(struct pollfd *fds, nfds_t count, int timeout, size_t room) {
    (void)room;
    return poll(fds, count, timeout);
}

int ioctl(int fd, unsigned long request, ...) {
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (!ours(fd))
        return ELSE(ioctl)(fd, request, argument);
    call(OUTQ);
    struct connection *c = of(fd);
    if (!c || request != SIOCOUTQ) {
        errno = c ? ENOTTY : EBADF;
        return -1;
    }
    *(int *)argument = length(&c->out);
    trace(OUTQ, fd, length(&c->out));
    return 0;
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t size) {
    if (!ours(fd))
        return ELSE(setsockopt)(fd, level, name, value, size);
    call(OPTION);
    struct connection *c = of(fd);
    if (!c)
        return -1;
    if (level == SOL_SOCKET && name == SO_LINGER)
        c->linger_zero = ((const struct linger *)value)->l_onoff && !((const struct linger *)value)->l_linger;
    trace(OPTION, fd, name);
    return 0;
}

/* What the peer has not got is lost, or a part of it: a reset overtakes. */
static void break_off(struct connection *c) {
    size_t n = length(&c->out) - c->corked;
    c->broken = 1;
    c->corked = 0;
    c->out.end = c->out.at + (n ? chance() % (n + 1) : 0);
}

int shutdown(int fd, int how) {
    if (!ours(fd))
        return ELSE(shutdown)(fd, how);
    call(SHUTDOWN);
    struct connection *c = of(fd);
    int result = 0;
    if (!c || c->reset) {
        errno = c ? ENOTCONN : EBADF;
        result = -1;
    } else {
        c->out_end = 1;
        c->corked = 0;
    }
    trace(SHUTDOWN, fd, how);
    return result;
}

int close(int fd) {
    if (!ours(fd))
        return ELSE(close)(fd);
    call(CLOSE);
    int which = table[fd - BASE];
    trace(CLOSE, fd, which);
    if (which == 0) {
        findings[TWICE_CLOSED]++;
        errno = EBADF;
        return -1;
    }
    if (interest[fd - BASE])
        findings[WATCHED_CLOSE]++;
    interest[fd - BASE] = 0;
    table[fd - BASE] = 0;
    if (fd == listener) {
        listener = -1;
        while (queue_at < queue_end)
            connections[queue[queue_at]].closed_at = now, break_off(&connections[queue[queue_at++]]);
        return 0;
    }
    struct connection *c = &connections[which - 1];
    c->fd = 0;
    c->closed = c->out_end = 1;
    c->closed_at = now;
    if (c->linger_zero || length(&c->in))       /* close(2) with unread input resets, on Linux */
        break_off(c);
    c->corked = 0;
    return 0;
}

/* ---- what OpenSSL draws: see tls.py */

static int random_bytes(unsigned char *into, int size) {
    for (int i = 0; i < size; i++) {
        random_state ^= random_state >> 12;
        random_state ^= random_state << 25;
        random_state ^= random_state >> 27;
        into[i] = (random_state * 2685821657736338717ULL) >> 56;
    }
    return 1;
}

static int random_ready(void) { return 1; }

/* A RAND_METHOD. */
const void *world_random(void) {
    static const struct {
        int (*seed)(const void *, int);
        int (*bytes)(unsigned char *, int);
        void (*cleanup)(void);
        int (*add)(const void *, int, double);
        int (*pseudorand)(unsigned char *, int);
        int (*status)(void);
    } method = {NULL, random_bytes, NULL, NULL, random_bytes, random_ready};
    return &method;
}

/* ---- driven by the world */

void world_begin(uint64_t seed, int64_t start, int64_t offset, int reuse_numbers, int64_t coarse_ns) {
    random_state = seed * 0xD1B54A32D192ED03ULL + 0x8CB92BA72F3D8DD7ULL;
    state = seed * 0x9E3779B97F4A7C15ULL + 0x632BE59BD9B4E019ULL;
    now = start;
    realtime_offset = offset;
    coarse = coarse_ns;
    reuse = reuse_numbers;
    digest = 14695981039346656037ULL;
    on = 1;
}

void world_end(void) { on = 0; }

void world_chances(unsigned shorter, unsigned interrupted, unsigned refused, unsigned buffer_full) {
    short_sends = shorter;
    interrupts = interrupted;
    refusals = refused;
    full = buffer_full;
}

int64_t world_now(void) { return now; }

void world_advance(int64_t by) { now += by; }

int world_listen(void) {
    listener = descriptor(-1);
    return listener;
}

/* A client connects; the number of the connection. */
int world_connect(int family, size_t most, int lazy) {
    struct connection *c = &connections[made];
    if (made == MOST)
        abort();
    c->lazy = lazy;
    c->family = family;
    c->most = most;
    if (listener < 0)
        c->broken = 1, c->closed_at = now;
    else
        queue[queue_end++] = made;
    return made++;
}

/* The client sends; -1: the server has gone, which the client learns as a reset. */
int world_client_send(int which, const char *data, size_t size) {
    struct connection *c = &connections[which];
    if (c->broken || c->reset)
        return -1;
    if (c->closed) {
        break_off(c);
        return -1;
    }
    put(&c->in, data, size);
    return 0;
}

void world_client_lazy(int which, int lazy) { connections[which].lazy = lazy; }

void world_client_finish(int which) { connections[which].in_end = 1; }

void world_client_reset(int which) {
    struct connection *c = &connections[which];
    if (!c->closed && !c->broken)
        c->reset = 1;
    c->out.at = c->out.end;
    c->corked = 0;
}

/* The client reads at most `size` bytes; 0: nothing now, -1: the end, -2: a reset. */
ssize_t world_client_take(int which, char *into, size_t size) {
    struct connection *c = &connections[which];
    size_t n = length(&c->out) - c->corked;
    if (n > size)
        n = size;
    if (n) {
        memcpy(into, c->out.data + c->out.at, n);
        c->out.at += n;
        return n;
    }
    if (length(&c->out) || !(c->broken || c->reset || c->out_end))
        return 0;
    c->done = 1;
    return c->broken || c->reset ? -2 : -1;
}

int64_t world_client_consumed(int which) { return connections[which].consumed; }

int64_t world_client_closed_at(int which) { return connections[which].closed_at; }

/* Connections with something for their client, from number `from` on. */
int world_arrivals(int from, int *numbers, int most) {
    int count = 0;
    for (int i = from; i < made && count < most; i++) {
        struct connection *c = &connections[i];
        if (c->reset || c->lazy || c->done)
            continue;
        if (length(&c->out) > c->corked || c->out_end || c->broken)
            numbers[count++] = i;
    }
    return count;
}

/* Bytes that wait behind MSG_MORE: when the first of them leave; 0: none do. */
int64_t world_next_cork(void) {
    int64_t first = 0;
    for (int i = 0; i < made; i++) {
        if (connections[i].cork_until <= now)
            connections[i].corked = 0;
        if (connections[i].corked && (!first || connections[i].cork_until < first))
            first = connections[i].cork_until;
    }
    return first;
}

int world_is_open(int fd) { return fd >= BASE && fd < BASE + MOST && table[fd - BASE] != 0; }

/* Somebody waits for these events of a descriptor. One that is closed is a finding if it is so when the loop polls: it
   may be closed by foreign code while its watcher is being started, and whoever starts it looks behind that. */
int world_watch(int fd, int events) {
    if (fd < BASE || fd >= BASE + MOST)
        return -1;
    interest[fd - BASE] = events;
    return 0;
}

/* Descriptors for which something watched has happened. */
int world_ready(int *fds, int *events, int most) {
    int count = 0;
    for (int at = 0; at < top && count < most; at++) {
        if (!interest[at])
            continue;
        if (!table[at]) {
            findings[WATCH_CLOSED]++;
            interest[at] = 0;
            continue;
        }
        int seen = heard(BASE + at), found = 0;
        if (seen & (POLLIN | POLLHUP | POLLERR))
            found |= READ;
        if (seen & (POLLOUT | POLLHUP | POLLERR))
            found |= WRITE;
        found &= interest[at];
        if (found) {
            fds[count] = BASE + at;
            events[count++] = found;
        }
    }
    return count;
}

int world_open_count(void) {
    int count = 0;
    for (int at = 0; at < top; at++)
        count += table[at] != 0;
    return count;
}

int world_watched_count(void) {
    int count = 0;
    for (int at = 0; at < top; at++)
        count += interest[at] != 0;
    return count;
}

void world_note(int what, int64_t value) { trace(NOTE, what, value); }

uint64_t world_digest(void) { return digest; }

int64_t world_traced(void) { return traced; }

int world_trace(int64_t at, struct trace *into) {
    if (at >= traced || at < traced - TRACES)
        return -1;
    *into = traces[at % TRACES];
    return 0;
}

int64_t world_counter(int kind) { return counters[kind]; }

int world_finding(int kind) { return findings[kind]; }

int64_t world_calls(void) { return calls; }

/* Change a byte of what the server sends: whether the judge sees it. */
void world_spoil(int64_t at) { spoil_at = at; }

/* `number` arrives inside the call that is `after` calls from now. */
void world_signal(int number, int64_t after) {
    signal_number = number;
    signal_at = calls + after;
}

/* ---- where worlds come from */

struct order { uint32_t size, seconds, lines; };
struct verdict { int32_t status; uint32_t milliseconds; };

static int whole(int fd, char *into, size_t size) {
    while (size) {
        ssize_t n = read(fd, into, size);
        if (n <= 0)
            return -1;
        into += n;
        size -= n;
    }
    return 0;
}

/* Returns in a child for each order that comes: the size of its text. The parent runs no Python between two orders, so
   that all children begin with the same memory. Ends the process when nobody can order any more. */
int world_zygote(int from, int to, char *text, unsigned room, unsigned *lines) {
    struct order order;
    while (whole(from, (char *)&order, sizeof order) == 0 && order.size <= room
           && whole(from, text, order.size) == 0) {
        pid_t child = fork();
        if (child == 0) {
            struct itimerval limit = {{0, 0}, {order.seconds, 0}};
            setitimer(ITIMER_PROF, &limit, NULL);
            alarm(order.seconds * 20);
            *lines = order.lines;
            return order.size;
        }
        struct rusage used;
        struct verdict verdict = {-1, 0};
        wait4(child, &verdict.status, 0, &used);
        verdict.milliseconds = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000
            + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000;
        if (write(to, &verdict, sizeof verdict) != sizeof verdict)
            break;
    }
    _exit(0);
}
