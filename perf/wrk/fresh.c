/* Loaded into wrk before libssl (LD_PRELOAD): each new connection makes a full handshake.
 *
 * wrk keeps one SSL object for each of its connections and clears it between two of them. SSL_clear(3) keeps the session
 * of a connection that was shut down in order, and OpenSSL offers it at the next handshake: all but the first handshakes
 * would be resumptions. Here the session is dropped first. Declared and not included: OpenSSL's headers are not needed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>

int SSL_clear(void *ssl)
{
    static int (*clear)(void *);
    static int (*set_session)(void *, void *);

    if (!clear) {
        set_session = (int (*)(void *, void *))dlsym(RTLD_NEXT, "SSL_set_session");
        clear = (int (*)(void *))dlsym(RTLD_NEXT, "SSL_clear");
    }
    set_session(ssl, 0);
    return clear(ssl);
}
