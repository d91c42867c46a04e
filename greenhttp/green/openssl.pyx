"""The libssl that Python's own `ssl` is linked with: found at run time, checked, and called without Python between.

A user configures an `ssl.SSLContext`. Behind it is an SSL_CTX, of which connections are made here by the functions of
the very library that made it: a second copy of OpenSSL in the process would not know its structures. Nothing of
OpenSSL's headers is needed: pointers stay opaque, and the functions used have had the same signatures since 1.1.1.

Where any of this is not as expected - OpenSSL is linked into Python itself, another library pretends to be it, the
context object is laid out in another way - `libssl()` is NULL, and connections go through Python's SSLObject.

A context with a callback written in Python cannot be used directly: OpenSSL would call into `_ssl`, which then looks
for its own object behind the connection and finds none. Where in a context object the callbacks stand is learned once,
by setting each in a context made for that, and looked at for each handshake: four comparisons.
"""

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t, uintptr_t
from libc.string cimport memset

import _ssl
import os
import ssl


cdef extern from *:
    """
    #include <dlfcn.h>
    #include <stddef.h>
    #include <string.h>
    #include <unistd.h>

    #define GREENHTTP_FIND(name) \\
        do { \\
            *(void**)(&into->name) = dlsym(from, #name); \\
            if (into->name == NULL) return #name; \\
        } while (0)

    /* NULL, or the name of what is missing. dlsym looks through what the module depends on as well. */
    static const char* greenhttp_find(void* from, greenhttp_libssl* into) {
        GREENHTTP_FIND(SSL_new); GREENHTTP_FIND(SSL_free); GREENHTTP_FIND(SSL_set_bio);
        GREENHTTP_FIND(SSL_set_accept_state); GREENHTTP_FIND(SSL_set_read_ahead); GREENHTTP_FIND(SSL_set_options);
        GREENHTTP_FIND(SSL_ctrl); GREENHTTP_FIND(SSL_do_handshake); GREENHTTP_FIND(SSL_read);
        GREENHTTP_FIND(SSL_write); GREENHTTP_FIND(SSL_shutdown); GREENHTTP_FIND(SSL_get_error);
        GREENHTTP_FIND(SSL_has_pending); GREENHTTP_FIND(SSL_session_reused); GREENHTTP_FIND(SSL_get_version);
        GREENHTTP_FIND(SSL_get_current_cipher); GREENHTTP_FIND(SSL_CIPHER_get_name);
        GREENHTTP_FIND(SSL_CIPHER_get_bits); GREENHTTP_FIND(SSL_get_servername);
        GREENHTTP_FIND(SSL_get0_alpn_selected); GREENHTTP_FIND(SSL_get_verify_result);
        GREENHTTP_FIND(SSL_get_SSL_CTX); GREENHTTP_FIND(SSL_get_ex_data); GREENHTTP_FIND(SSL_set_SSL_CTX);
        GREENHTTP_FIND(SSL_CTX_get_options);
        GREENHTTP_FIND(SSL_CTX_get_verify_mode); GREENHTTP_FIND(SSL_CTX_ctrl); GREENHTTP_FIND(SSL_CTX_callback_ctrl);
        GREENHTTP_FIND(SSL_CTX_set_ex_data); GREENHTTP_FIND(SSL_CTX_get_ex_data); GREENHTTP_FIND(TLS_method);
        GREENHTTP_FIND(TLS_server_method); GREENHTTP_FIND(TLS_client_method);
        GREENHTTP_FIND(CRYPTO_get_ex_new_index); GREENHTTP_FIND(BIO_meth_new); GREENHTTP_FIND(BIO_meth_set_write);
        GREENHTTP_FIND(BIO_meth_set_read); GREENHTTP_FIND(BIO_meth_set_ctrl); GREENHTTP_FIND(BIO_new);
        GREENHTTP_FIND(BIO_up_ref); GREENHTTP_FIND(BIO_set_init); GREENHTTP_FIND(BIO_set_flags);
        GREENHTTP_FIND(BIO_clear_flags); GREENHTTP_FIND(ERR_get_error); GREENHTTP_FIND(ERR_peek_error);
        GREENHTTP_FIND(ERR_clear_error); GREENHTTP_FIND(ERR_reason_error_string); GREENHTTP_FIND(i2d_X509);
        GREENHTTP_FIND(X509_free); GREENHTTP_FIND(RAND_bytes); GREENHTTP_FIND(EVP_aes_256_cbc);
        GREENHTTP_FIND(EVP_sha256); GREENHTTP_FIND(EVP_EncryptInit_ex); GREENHTTP_FIND(EVP_DecryptInit_ex);
        GREENHTTP_FIND(HMAC_Init_ex);
        *(void**)(&into->SSL_get1_peer_certificate) = dlsym(from, "SSL_get1_peer_certificate");     /* since 3.0 */
        if (into->SSL_get1_peer_certificate == NULL)
            *(void**)(&into->SSL_get1_peer_certificate) = dlsym(from, "SSL_get_peer_certificate");
        return into->SSL_get1_peer_certificate == NULL ? "SSL_get1_peer_certificate" : NULL;
    }

    static void* greenhttp_open(const char* path) {
        return dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
    }

    /* Whether so many bytes can be read there: the kernel looks, and says no instead of ending the process. */
    static int greenhttp_is_memory(int pipe_in, int pipe_out, const void* where, size_t size) {
        char copy[64];
        return size <= sizeof copy && write(pipe_in, where, size) == (ssize_t)size
            && read(pipe_out, copy, size) == (ssize_t)size;
    }
    """
    const char* greenhttp_find(void* start, Library* into) noexcept
    void* greenhttp_open(const char* path) noexcept
    int greenhttp_is_memory(int pipe_in, int pipe_out, const void* where, size_t size) noexcept

cdef enum:
    MOST_CALLBACKS = 8
    # SSL_CTX begins with a reference to its library context (3.2 and later) and the method it was made with.
    FIRST_WORDS = 4

cdef Library library
cdef Library* found = NULL
cdef str why_not = ""
cdef Py_ssize_t places[MOST_CALLBACKS]      # words of a context object, each NULL or None or a callback in Python
cdef int place_count = 0


cdef Library* libssl() noexcept:
    """The library, or NULL: only SSLObject can be used."""
    return found


cdef void* pointer_of(object context) noexcept:
    """The SSL_CTX of an ssl.SSLContext. To be asked only where there is a `libssl`."""
    return (<void**>(<PyObject*>context))[2]        # behind the count of references and the type


cdef bint has_callbacks(object context) noexcept:
    """Whether something written in Python would be called in the middle of a handshake."""
    cdef void** words = <void**>(<PyObject*>context)
    cdef int i
    for i in range(place_count):
        if words[places[i]] != NULL and words[places[i]] != <void*>None:
            return True
    return False


def reason():
    """Why the library is not called directly, for people; "" if it is."""
    return why_not


def _nothing(*arguments):
    """A callback, for finding out where a context keeps it."""


cdef str look():
    """Find the library and check it. "", or why it cannot be used."""
    global found, place_count
    cdef void* handle
    cdef const char* missing
    cdef void** words
    cdef void* made
    cdef object context, path = getattr(_ssl, "__file__", None)
    cdef Py_ssize_t size = _ssl._SSLContext.__basicsize__ // sizeof(void*)
    if path is None:
        return "OpenSSL is linked into Python itself"
    handle = greenhttp_open(os.fsencode(path))
    if handle == NULL:
        return "Python's _ssl cannot be looked into"
    missing = greenhttp_find(handle, &library)
    if missing != NULL:
        return f"OpenSSL's {missing.decode()} cannot be found from Python's _ssl"
    if size < 3:
        return "an SSLContext is not laid out as expected"
    pipe = os.pipe()
    try:
        for protocol, method in (
            (ssl.PROTOCOL_TLS_SERVER, <uintptr_t>library.TLS_server_method()),
            (ssl.PROTOCOL_TLS_CLIENT, <uintptr_t>library.TLS_client_method()),
        ):
            context = ssl.SSLContext(protocol)
            made = pointer_of(context)
            if <uintptr_t>made % sizeof(void*) or \
                    not greenhttp_is_memory(pipe[1], pipe[0], made, FIRST_WORDS * sizeof(void*)):
                return "an SSLContext is not laid out as expected"
            words = <void**>made
            if method not in (<uintptr_t>words[0], <uintptr_t>words[1], <uintptr_t>words[2]):
                return "an SSLContext does not come from the OpenSSL that was found"
            for options in (context.options, context.options | ssl.OP_NO_TICKET):
                context.options = options
                if library.SSL_CTX_get_options(made) != <uint64_t>int(context.options):
                    return "an SSLContext does not come from the OpenSSL that was found"
    finally:
        for end in pipe:
            os.close(end)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    place_count = 0
    for place in (
        _place_of(context, size, "sni_callback", _nothing),
        _place_of(context, size, "_msg_callback", _nothing),
        _place_of(context, size, "keylog_filename", os.devnull),
        *[
            _place_of(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), size, name, _nothing)
            for name in ("set_psk_server_callback",) if hasattr(context, name)
        ],
    ):
        if place == 0:
            return "where an SSLContext keeps its callbacks cannot be found"
        places[place_count] = place
        place_count += 1
    found = &library
    return ""


cdef Py_ssize_t _place_of(object context, Py_ssize_t size, str name, object value):
    """Which word of a context object changes to `value` when that is set; 0: none."""
    cdef void** words = <void**>(<PyObject*>context)
    cdef Py_ssize_t i
    cdef list before = [<uintptr_t>words[i] for i in range(size)]
    try:
        if name.startswith("set_"):
            getattr(context, name)(value)
        else:
            getattr(_ssl._SSLContext, name).__set__(context, value)     # ssl's own and gevent's wrap what is given
    except Exception:
        return 0
    for i in range(3, size):
        if before[i] != <uintptr_t>words[i] and <void*>value == words[i]:
            return i
    return 0


memset(&library, 0, sizeof(library))
why_not = look()
