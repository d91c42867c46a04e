/* The floor: what one request costs a process that does nothing but move it. One thread, edge-triggered epoll, one recv,
 * one send. It looks for the blank line that ends a head, and for nothing else; the answer is fixed. No server that parses
 * what it reads can be cheaper, so every other figure is shown as a multiple of this one.
 *
 *     floor PORT LENGTH [close]
 *
 * LENGTH is the size of the whole answer, head and body, filled up with a dummy field: equal bytes on the wire for floor
 * and server. With `close` each answer says Connection: close and ends the connection.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_FD = 65536, READ = 16384, MAX_BATCH = 64, MAX_ANSWER = 1024 };

static char batch[MAX_BATCH * MAX_ANSWER]; /* the answer, repeated: pipelined answers leave in one send, too */
static int answer_length, closing;
static unsigned char matched[MAX_FD]; /* how much of CRLF CRLF the connection has shown so far */

static void make_answer(int length) {
    char answer[MAX_ANSWER + 1], fill[MAX_ANSWER + 1];
    const char *form = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n%sX-Fill: %s\r\n\r\nhello, world\n";
    const char *close_field = closing ? "Connection: close\r\n" : "";
    int without = snprintf(answer, sizeof answer, form, close_field, "");
    int pad = length > without ? length - without : 0;
    memset(fill, 'x', pad);
    fill[pad] = 0;
    answer_length = snprintf(answer, sizeof answer, form, close_field, fill);
    for (int i = 0; i < MAX_BATCH; i++) memcpy(batch + i * answer_length, answer, answer_length);
}

static int heads_ended(int fd, const char *bytes, ssize_t length) {
    int ended = 0;
    unsigned char m = matched[fd];
    for (const char *end = bytes + length; bytes < end; bytes++) {
        if (m == 0) { /* the usual case: skip to the next CR at memchr's speed */
            bytes = memchr(bytes, '\r', end - bytes);
            if (!bytes) break;
            m = 1;
        } else if (*bytes == ((m & 1) ? '\n' : '\r')) {
            if (++m == 4) ended++, m = 0;
        } else {
            m = *bytes == '\r';
        }
    }
    matched[fd] = m;
    return ended;
}

static void serve(int fd) {
    static char bytes[READ];
    for (;;) {
        ssize_t got = recv(fd, bytes, READ, 0);
        if (got <= 0) {
            if (got < 0 && errno == EAGAIN) return;
            close(fd);
            return;
        }
        for (int ended = heads_ended(fd, bytes, got); ended > 0; ended -= MAX_BATCH) {
            int size = (ended < MAX_BATCH ? ended : MAX_BATCH) * answer_length;
            if (send(fd, batch, size, MSG_NOSIGNAL) != size || closing) {
                close(fd);
                return;
            }
        }
        if (got < READ) return; /* the socket is dry: the next byte makes a new edge */
    }
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: floor PORT LENGTH [close]\n");
        return 2;
    }
    closing = argc > 3 && !strcmp(argv[3], "close");
    make_answer(atoi(argv[2]) < MAX_ANSWER ? atoi(argv[2]) : MAX_ANSWER);
    signal(SIGPIPE, SIG_IGN);

    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), loop = epoll_create1(0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) {
        perror("floor");
        return 1;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, ready[512];
    epoll_ctl(loop, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(loop, ready, 512, -1);
        for (int i = 0; i < count; i++) {
            if (ready[i].data.fd != listener) {
                serve(ready[i].data.fd);
                continue;
            }
            for (;;) {
                int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (fd < 0) break;
                if (fd >= MAX_FD) {
                    close(fd);
                    continue;
                }
                matched[fd] = 0;
                event = (struct epoll_event){.events = EPOLLIN | EPOLLET, .data.fd = fd};
                epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event);
            }
        }
    }
}
