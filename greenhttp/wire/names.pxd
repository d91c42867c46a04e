cpdef enum Known:
    # Indexes into KNOWN_NAMES. Those up to KNOWN_UPGRADE change how a head is read, so that one comparison tells
    # whether a field needs a closer look; the rest are names other layers ask for.
    KNOWN_HOST = 0
    KNOWN_CONTENT_LENGTH = 1
    KNOWN_TRANSFER_ENCODING = 2
    KNOWN_CONNECTION = 3
    KNOWN_EXPECT = 4
    KNOWN_PROXY = 5
    KNOWN_UPGRADE = 6
    KNOWN_CONTENT_TYPE = 7
    KNOWN_COOKIE = 8
    KNOWN_KEEP_ALIVE = 9
    KNOWN_TE = 10
    KNOWN_TRAILER = 11
    KNOWN_AUTHORIZATION = 12
    KNOWN_PROXY_AUTHORIZATION = 13
    KNOWN_PROXY_CONNECTION = 14
    KNOWN_USER_AGENT = 15
    KNOWN_REFERER = 16
    KNOWN_ORIGIN = 17
    KNOWN_ACCEPT = 18
    KNOWN_ACCEPT_ENCODING = 19
    KNOWN_ACCEPT_LANGUAGE = 20
    KNOWN_IF_MODIFIED_SINCE = 21
    KNOWN_IF_NONE_MATCH = 22
    KNOWN_IF_MATCH = 23
    KNOWN_IF_UNMODIFIED_SINCE = 24
    KNOWN_IF_RANGE = 25
    KNOWN_RANGE = 26
    KNOWN_FORWARDED = 27
    KNOWN_X_FORWARDED_FOR = 28
    KNOWN_X_FORWARDED_PROTO = 29
    KNOWN_X_FORWARDED_HOST = 30
    KNOWN_X_FORWARDED_PORT = 31
    KNOWN_X_REAL_IP = 32
    KNOWN_X_REQUEST_ID = 33
    KNOWN_SEC_WEBSOCKET_KEY = 34
    KNOWN_SEC_WEBSOCKET_VERSION = 35
    KNOWN_SEC_WEBSOCKET_PROTOCOL = 36
    KNOWN_SEC_WEBSOCKET_EXTENSIONS = 37
    KNOWN_HTTP2_SETTINGS = 38


cdef enum:
    TOKEN_CHAR = 1         # a tchar of RFC 9110 5.6.2
    UNDERSCORE_CHAR = 2    # also a tchar; marks names that collide with "-" in a WSGI environ


# Lookups on bytes from outside; all of them read exactly `size` bytes.
cdef const unsigned char* token_table() noexcept nogil
cdef const unsigned char* lower_table() noexcept nogil
cdef int find_known(const unsigned char* name, Py_ssize_t size) noexcept nogil
cdef bint same_name(const unsigned char* text, const char* lower, Py_ssize_t size) noexcept nogil
