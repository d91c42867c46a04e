/* WebSocket clients that cost less than any server they ask, and the least that a server can cost.
 *
 *     websocket load PORT CONNECTIONS SIZE SECONDS [text]   each connection sends a message, waits for its echo, sends the
 *                                                           next; the report of perf/wrk/report.lua at the end
 *     websocket hold PORT CONNECTIONS [PATH]                opens them, says OPEN, and does what lines on stdin tell, until
 *                                                           its end:
 *         pace ACTIVE SIZE SECONDS    a message a second on so many, evenly spread over connections and time; the report
 *         gather COUNT                reads until so many messages have come; says GATHER, or the same after 30 s
 *     websocket serve PORT                                  the floor: echoes, and checks nothing
 *
 * The payload of echoes is compared. Pings are answered at any time. Latency is taken from the moment a message was due:
 * a server that stalls delays none of the messages that are timed. One frame is made and masked beforehand.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ = 262144, READY = 512, LONGEST = 1 << 20, PATIENCE_MS = 2000, GATHER_MS = 30000 };
enum { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9 };

/* RFC 6455, section 1.3: its sample key, and what a server must answer to it */
static const char *KEY = "dGhlIHNhbXBsZSBub25jZQ==", *ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

struct client {
    int fd, waiting;            /* echoes that are owed */
    int64_t due;                /* ns: when the oldest of them was due */
    int64_t period;             /* ns between two that are due; 0: as soon as the last is there */
    unsigned char head[10], have, opcode, inside;
    int64_t left, at;           /* of the frame's payload; of the message's */
    unsigned char ping[125];
    int pinged;
};

static struct client *clients;
static int count, loop, expecting = 1;
static char buffer[READ], payload[LONGEST], frame[LONGEST + 14];
static int64_t size, frame_size, messages, received, bad, lost, unsent, refused, mute;
static uint32_t *latencies;
static size_t timed, room;

static int64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static int put_head(unsigned char *into, int opcode, int64_t length, int masked) {
    into[0] = 0x80 | opcode;
    if (length < 126) {
        into[1] = length | masked;
        return 2;
    }
    if (length < 65536) {
        into[1] = 126 | masked, into[2] = length >> 8, into[3] = length;
        return 4;
    }
    into[1] = 127 | masked;
    for (int i = 0; i < 8; i++) into[2 + i] = length >> (56 - 8 * i);
    return 10;
}

static void make_frame(int64_t length, int opcode) {
    static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    static const char text[] = "Gr\xc3\xbc\xc3\x9f" "e, \xe4\xbd\xa0\xe5\xa5\xbd; {\"id\": 4711, \"name\": \"plain text\"} ";
    size = length;
    for (int64_t i = 0; i < size; i++) payload[i] = opcode == TEXT ? text[i % (sizeof text - 1)] : (char)(i * 31);
    if (opcode == TEXT) /* no character is cut in two at the end */
        for (int64_t i = size - size % (int64_t)(sizeof text - 1); i < size; i++) payload[i] = '.';
    int head = put_head((unsigned char *)frame, opcode, size, 0x80);
    memcpy(frame + head, mask, 4);
    for (int64_t i = 0; i < size; i++) frame[head + 4 + i] = payload[i] ^ mask[i & 3];
    frame_size = head + 4 + size;
}

static int opened(int port, const char *path) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1, got = 0;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval patience = {.tv_sec = 10};
    char head[4096];
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) goto failed;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    int length = snprintf(head, sizeof head,
                          "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n", path, port, KEY);
    if (send(fd, head, length, MSG_NOSIGNAL) != length) goto failed;
    do { /* byte by byte at its end would be dear: nobody sends behind a head before anything has come */
        int more = recv(fd, head + got, sizeof head - 1 - got, 0);
        if (more <= 0) goto failed;
        head[got += more] = 0;
    } while (got < 4 || memcmp(head + got - 4, "\r\n\r\n", 4));
    if (!strncmp(head, "HTTP/1.1 101", 12) && strstr(head, ACCEPT)) return fd;
failed:
    close(fd);
    return -1;
}

static void drop(struct client *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1, c->waiting = 0;
    lost++;
}

static void put(struct client *c, const void *bytes, int64_t length) {
    if (c->fd < 0) return;
    ssize_t went = send(c->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (went != length) unsent++, drop(c);
}

static void answer_ping(struct client *c) {
    unsigned char pong[6 + 125] = {0x8a, 0x80 | c->pinged}; /* a mask of zeros */
    memcpy(pong + 6, c->ping, c->pinged);
    put(c, pong, 6 + c->pinged);
    c->pinged = 0;
}

static void timed_at(int64_t ns) {
    if (timed == room) {
        room = room ? 2 * room : 1 << 16;
        latencies = realloc(latencies, room * sizeof *latencies);
    }
    latencies[timed++] = ns / 1000;
}

static void message_ended(struct client *c) {
    messages++, received += c->at;
    if (!expecting) return;
    if (c->at != size || !c->waiting) {
        bad++, drop(c);
        return;
    }
    int64_t at = now();
    timed_at(at - c->due);
    c->waiting--;
    if (c->period) {
        c->due += c->period;
    } else {
        c->due = at, c->waiting = 1;
        put(c, frame, frame_size);
    }
}

static void frame_ended(struct client *c) {
    int opcode = c->opcode & 15;
    c->inside = 0;
    if (opcode == PING) answer_ping(c);
    else if (opcode == CLOSE) drop(c);
    else if (opcode < CLOSE && c->opcode & 0x80) {
        message_ended(c);
        c->at = 0;
    }
}

static void take(struct client *c, const char *bytes, int64_t length) {
    while (length && c->fd >= 0) {
        if (!c->inside) {
            c->head[c->have++] = *bytes++, length--;
            int short_length = c->head[1] & 0x7f;
            if (c->have < 2 || c->have < (short_length < 126 ? 2 : short_length == 126 ? 4 : 10)) continue;
            c->left = short_length;
            if (c->have > 2) {
                c->left = 0;
                for (int i = 2; i < c->have; i++) c->left = c->left << 8 | c->head[i];
            }
            c->opcode = c->head[0], c->have = 0, c->inside = 1;
            if (c->head[1] & 0x80 || c->left > LONGEST) bad++, drop(c);
        } else {
            int64_t part = length < c->left ? length : c->left;
            if (!(c->opcode & 8)) {
                if (expecting && (c->at + part > size || memcmp(payload + c->at, bytes, part))) bad++, drop(c);
                c->at += part;
            } else if (c->pinged + part <= 125) {
                memcpy(c->ping + c->pinged, bytes, part);
                c->pinged += (c->opcode & 15) == PING ? part : 0;
            }
            c->left -= part, bytes += part, length -= part;
        }
        if (c->inside && !c->left && c->fd >= 0) frame_ended(c);
    }
}

/* Reads what there is, for at most so many ns; 1 where stdin has something. */
static int turn(int64_t patience) {
    struct epoll_event ready[READY];
    struct timespec wait = {patience / 1000000000, patience % 1000000000};
    int said = 0, many = epoll_pwait2(loop, ready, READY, &wait, NULL);
    if (many < 0 && errno == ENOSYS) many = epoll_wait(loop, ready, READY, patience / 1000000);
    for (int i = 0; i < many; i++) {
        struct client *c = ready[i].data.ptr;
        if (!c) {
            said = 1;
            continue;
        }
        if (c->fd < 0) continue;
        ssize_t got = recv(c->fd, buffer, READ, MSG_DONTWAIT);
        if (got > 0) take(c, buffer, got);
        else if (!got || errno != EAGAIN) drop(c);
    }
    return said;
}

static void open_all(int port, const char *path) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    clients = calloc(count, sizeof *clients);
    loop = epoll_create1(0);
    for (int i = 0; i < count; i++) {
        struct client *c = clients + i;
        if ((c->fd = opened(port, path)) < 0) {
            if (++refused == 10) break;
            continue;
        }
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(loop, EPOLL_CTL_ADD, c->fd, &event);
        if (i % 64 == 63) turn(0); /* pings that came meanwhile */
    }
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t percentile(int percent) { /* nearest rank */
    return timed ? latencies[(timed * percent + 99) / 100 - 1] : 0;
}

static void report(int64_t ns) {
    int64_t late = now() - PATIENCE_MS * 1000000LL;
    for (int i = 0; i < count; i++) mute += clients[i].fd >= 0 && clients[i].waiting && clients[i].due < late;
    if (timed) qsort(latencies, timed, sizeof *latencies, by_size);
    printf("PERF requests=%zu duration_us=%lld bytes=%lld connect=%lld read=%lld write=%lld status=%lld timeout=%lld "
           "p50_us=%u p99_us=%u max_us=%u\n", timed, (long long)ns / 1000, (long long)received, (long long)refused,
           (long long)lost, (long long)unsent, (long long)bad, (long long)mute, percentile(50), percentile(99),
           percentile(100));
    fflush(stdout);
}

static void load(int64_t seconds) {
    int64_t began = now(), end = began + seconds * 1000000000LL, at;
    for (int i = 0; i < count; i++) {
        if (clients[i].fd < 0) continue;
        clients[i].due = now(), clients[i].waiting = 1;
        put(clients + i, frame, frame_size);
    }
    while ((at = now()) < end) turn(end - at);
    report(at - began);
}

static void pace(int active, int64_t seconds) {
    int64_t began = now(), step = 1000000000LL / active, total = active * seconds, sent = 0, at;
    timed = 0, received = 0, expecting = 1;
    for (int i = 0; i < active; i++) {
        struct client *c = clients + (int64_t)i * count / active;
        c->due = began + i * step, c->period = 1000000000LL, c->waiting = 0;
    }
    while (sent < total) {
        for (at = now(); sent < total && began + sent * step <= at; sent++) {
            struct client *c = clients + sent % active * count / active;
            if (c->fd < 0) continue;
            c->waiting++;
            put(c, frame, frame_size);
        }
        at = now();
        int64_t next = began + sent * step;
        turn(next > at ? next - at : 0);
    }
    for (at = now(); timed < (size_t)total && now() < at + PATIENCE_MS * 1000000LL;) turn(10000000);
    report(now() - began);
}

static void gather(int64_t wanted) {
    int64_t began = now();
    messages = received = expecting = 0;
    while (messages < wanted && now() < began + GATHER_MS * 1000000LL) turn(10000000);
    printf("GATHER messages=%lld bytes=%lld lost=%lld\n", (long long)messages, (long long)received, (long long)lost);
    fflush(stdout);
}

static void hold(void) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    char line[256];
    int active, seconds;
    long long length;
    setvbuf(stdin, NULL, _IONBF, 0); /* a second line must not hide in a buffer that epoll does not see */
    epoll_ctl(loop, EPOLL_CTL_ADD, 0, &event);
    printf("OPEN failed=%lld\n", (long long)refused);
    fflush(stdout);
    expecting = 0;
    for (;;) {
        if (!turn(1000000000)) continue;
        if (!fgets(line, sizeof line, stdin)) return;
        if (sscanf(line, "pace %d %lld %d", &active, &length, &seconds) == 3 && active > 0 && length <= LONGEST) {
            make_frame(length, BINARY);
            pace(active, seconds);
        } else if (sscanf(line, "gather %lld", &length) == 1) {
            gather(length);
        }
    }
}

/* The floor: frames that come whole or in parts, of one size a connection at a time. */
static void serve(int port) {
    enum { MOST = 65536 };
    static struct peer { char *kept; int have, open; } peers[MOST];
    static const char upgraded[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                   "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, ready[READY];
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) {
        perror("websocket");
        exit(1);
    }
    loop = epoll_create1(0);
    epoll_ctl(loop, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int many = epoll_wait(loop, ready, READY, -1);
        for (int i = 0; i < many; i++) {
            int fd = ready[i].data.fd;
            if (fd == listener) {
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    if (fd >= MOST) {
                        close(fd);
                        continue;
                    }
                    peers[fd] = (struct peer){peers[fd].kept, 0, 0};
                    event = (struct epoll_event){.events = EPOLLIN, .data.fd = fd};
                    epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event);
                }
                continue;
            }
            struct peer *p = peers + fd;
            if (p->have) memcpy(buffer, p->kept, p->have);
            ssize_t got = recv(fd, buffer + p->have, READ / 2 - p->have, 0);
            if (got <= 0) {
                if (got < 0 && errno == EAGAIN) continue;
                close(fd);
                continue;
            }
            int64_t end = p->have + got, at = 0;
            if (!p->open) {
                if (end >= 4 && !memcmp(buffer + end - 4, "\r\n\r\n", 4)) {
                    int whole = memmem(buffer, end, "Upgrade", 7) != NULL;
                    const char *answer = whole ? upgraded : "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                    send(fd, answer, strlen(answer), MSG_NOSIGNAL);
                    p->open = whole, at = end;
                }
            } else {
                while (end - at >= 6) {
                    unsigned char *head = (unsigned char *)buffer + at, answer[10];
                    int64_t length = head[1] & 0x7f, long_head = length == 126 ? 4 : length == 127 ? 10 : 2;
                    if (end - at < long_head + 4) break;
                    if (long_head > 2) {
                        length = 0;
                        for (int k = 2; k < long_head; k++) length = length << 8 | head[k];
                    }
                    if (length > READ / 2 - 14) exit(1);
                    if (end - at < long_head + 4 + length) break;
                    unsigned char *mask = head + long_head, *data = mask + 4;
                    uint64_t mask8;
                    memcpy(&mask8, mask, 4), memcpy((char *)&mask8 + 4, mask, 4);
                    int64_t k = 0;
                    for (uint64_t word; k + 8 <= length; k += 8) {
                        memcpy(&word, data + k, 8);
                        word ^= mask8;
                        memcpy(data + k, &word, 8);
                    }
                    for (; k < length; k++) data[k] ^= ((unsigned char *)&mask8)[k & 7];
                    int opcode = head[0] & 15, short_head = put_head(answer, opcode, length, 0);
                    memcpy(data - short_head, answer, short_head);
                    if (opcode == CLOSE || send(fd, data - short_head, short_head + length, MSG_NOSIGNAL) < 0) {
                        close(fd);
                        end = at = 0;
                        break;
                    }
                    at += long_head + 4 + length;
                }
            }
            if ((p->have = end - at)) {
                if (!p->kept) p->kept = malloc(READ / 2);
                memcpy(p->kept, buffer + at, p->have);
            }
        }
    }
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    if (argc == 3 && !strcmp(argv[1], "serve")) {
        serve(atoi(argv[2]));
    } else if (argc >= 6 && !strcmp(argv[1], "load") && atoll(argv[4]) <= LONGEST) {
        count = atoi(argv[3]);
        make_frame(atoll(argv[4]), argc > 6 && !strcmp(argv[6], "text") ? TEXT : BINARY);
        open_all(atoi(argv[2]), "/");
        load(atoll(argv[5]));
    } else if (argc >= 4 && !strcmp(argv[1], "hold")) {
        count = atoi(argv[3]);
        open_all(atoi(argv[2]), argc > 4 ? argv[4] : "/");
        hold();
    } else {
        fprintf(stderr, "usage: websocket load PORT CONNECTIONS SIZE SECONDS [text] | hold PORT CONNECTIONS [PATH] | "
                        "serve PORT\n");
        return 2;
    }
    return 0;
}
