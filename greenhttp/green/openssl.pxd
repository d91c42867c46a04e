# The libssl that Python's own `ssl` uses, as far as `tls` calls it. See openssl.pyx.

from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #ifndef GREENHTTP_LIBSSL
    #define GREENHTTP_LIBSSL
    typedef struct greenhttp_libssl {
        void* (*SSL_new)(void*);
        void (*SSL_free)(void*);
        void (*SSL_set_bio)(void*, void*, void*);
        void (*SSL_set_accept_state)(void*);
        void (*SSL_set_read_ahead)(void*, int);
        uint64_t (*SSL_set_options)(void*, uint64_t);
        long (*SSL_ctrl)(void*, int, long, void*);
        int (*SSL_do_handshake)(void*);
        int (*SSL_read)(void*, void*, int);
        int (*SSL_write)(void*, const void*, int);
        int (*SSL_shutdown)(void*);
        int (*SSL_get_error)(void*, int);
        int (*SSL_has_pending)(void*);
        int (*SSL_session_reused)(void*);
        const char* (*SSL_get_version)(void*);
        void* (*SSL_get_current_cipher)(void*);
        const char* (*SSL_CIPHER_get_name)(void*);
        int (*SSL_CIPHER_get_bits)(void*, int*);
        const char* (*SSL_get_servername)(void*, int);
        void (*SSL_get0_alpn_selected)(void*, const unsigned char**, unsigned int*);
        void* (*SSL_get1_peer_certificate)(void*);
        long (*SSL_get_verify_result)(void*);
        void* (*SSL_get_SSL_CTX)(void*);
        void* (*SSL_get_ex_data)(void*, int);
        void* (*SSL_set_SSL_CTX)(void*, void*);
        uint64_t (*SSL_CTX_get_options)(void*);
        int (*SSL_CTX_get_verify_mode)(void*);
        long (*SSL_CTX_ctrl)(void*, int, long, void*);
        long (*SSL_CTX_callback_ctrl)(void*, int, void (*)(void));
        int (*SSL_CTX_set_ex_data)(void*, int, void*);
        void* (*SSL_CTX_get_ex_data)(void*, int);
        const void* (*TLS_method)(void);
        const void* (*TLS_server_method)(void);
        const void* (*TLS_client_method)(void);
        int (*CRYPTO_get_ex_new_index)(int, long, void*, void*, void*, void*);
        void* (*BIO_meth_new)(int, const char*);
        int (*BIO_meth_set_write)(void*, int (*)(void*, const char*, int));
        int (*BIO_meth_set_read)(void*, int (*)(void*, char*, int));
        int (*BIO_meth_set_ctrl)(void*, long (*)(void*, int, long, void*));
        void* (*BIO_new)(void*);
        int (*BIO_up_ref)(void*);
        void (*BIO_set_init)(void*, int);
        void (*BIO_set_flags)(void*, int);
        void (*BIO_clear_flags)(void*, int);
        unsigned long (*ERR_get_error)(void);
        unsigned long (*ERR_peek_error)(void);
        void (*ERR_clear_error)(void);
        const char* (*ERR_reason_error_string)(unsigned long);
        int (*i2d_X509)(void*, unsigned char**);
        void (*X509_free)(void*);
        int (*RAND_bytes)(unsigned char*, int);
        const void* (*EVP_aes_256_cbc)(void);
        const void* (*EVP_sha256)(void);
        int (*EVP_EncryptInit_ex)(void*, const void*, void*, const unsigned char*, const unsigned char*);
        int (*EVP_DecryptInit_ex)(void*, const void*, void*, const unsigned char*, const unsigned char*);
        int (*HMAC_Init_ex)(void*, const void*, int, const void*, void*);
    } greenhttp_libssl;
    #endif
    """
    ctypedef struct Library "greenhttp_libssl":
        void* (*SSL_new)(void*) noexcept
        void (*SSL_free)(void*) noexcept
        void (*SSL_set_bio)(void*, void*, void*) noexcept
        void (*SSL_set_accept_state)(void*) noexcept
        void (*SSL_set_read_ahead)(void*, int) noexcept
        uint64_t (*SSL_set_options)(void*, uint64_t) noexcept
        long (*SSL_ctrl)(void*, int, long, void*) noexcept
        int (*SSL_do_handshake)(void*) noexcept
        int (*SSL_read)(void*, void*, int) noexcept
        int (*SSL_write)(void*, const void*, int) noexcept
        int (*SSL_shutdown)(void*) noexcept
        int (*SSL_get_error)(void*, int) noexcept
        int (*SSL_has_pending)(void*) noexcept
        int (*SSL_session_reused)(void*) noexcept
        const char* (*SSL_get_version)(void*) noexcept
        void* (*SSL_get_current_cipher)(void*) noexcept
        const char* (*SSL_CIPHER_get_name)(void*) noexcept
        int (*SSL_CIPHER_get_bits)(void*, int*) noexcept
        const char* (*SSL_get_servername)(void*, int) noexcept
        void (*SSL_get0_alpn_selected)(void*, const unsigned char**, unsigned int*) noexcept
        void* (*SSL_get1_peer_certificate)(void*) noexcept
        long (*SSL_get_verify_result)(void*) noexcept
        void* (*SSL_get_SSL_CTX)(void*) noexcept
        void* (*SSL_get_ex_data)(void*, int) noexcept
        void* (*SSL_set_SSL_CTX)(void*, void*) noexcept
        uint64_t (*SSL_CTX_get_options)(void*) noexcept
        int (*SSL_CTX_get_verify_mode)(void*) noexcept
        long (*SSL_CTX_ctrl)(void*, int, long, void*) noexcept
        long (*SSL_CTX_callback_ctrl)(void*, int, void (*)() noexcept) noexcept
        int (*SSL_CTX_set_ex_data)(void*, int, void*) noexcept
        void* (*SSL_CTX_get_ex_data)(void*, int) noexcept
        const void* (*TLS_method)() noexcept
        const void* (*TLS_server_method)() noexcept
        const void* (*TLS_client_method)() noexcept
        int (*CRYPTO_get_ex_new_index)(int, long, void*, void*, void*, void*) noexcept
        void* (*BIO_meth_new)(int, const char*) noexcept
        int (*BIO_meth_set_write)(void*, int (*)(void*, const char*, int) noexcept) noexcept
        int (*BIO_meth_set_read)(void*, int (*)(void*, char*, int) noexcept) noexcept
        int (*BIO_meth_set_ctrl)(void*, long (*)(void*, int, long, void*) noexcept) noexcept
        void* (*BIO_new)(void*) noexcept
        int (*BIO_up_ref)(void*) noexcept
        void (*BIO_set_init)(void*, int) noexcept
        void (*BIO_set_flags)(void*, int) noexcept
        void (*BIO_clear_flags)(void*, int) noexcept
        unsigned long (*ERR_get_error)() noexcept
        unsigned long (*ERR_peek_error)() noexcept
        void (*ERR_clear_error)() noexcept
        const char* (*ERR_reason_error_string)(unsigned long) noexcept
        int (*i2d_X509)(void*, unsigned char**) noexcept
        void (*X509_free)(void*) noexcept
        int (*RAND_bytes)(unsigned char*, int) noexcept
        const void* (*EVP_aes_256_cbc)() noexcept
        const void* (*EVP_sha256)() noexcept
        int (*EVP_EncryptInit_ex)(void*, const void*, void*, const unsigned char*, const unsigned char*) noexcept
        int (*EVP_DecryptInit_ex)(void*, const void*, void*, const unsigned char*, const unsigned char*) noexcept
        int (*HMAC_Init_ex)(void*, const void*, int, const void*, void*) noexcept

cdef Library* libssl() noexcept
cdef void* pointer_of(object context) noexcept
cdef bint has_callbacks(object context) noexcept
