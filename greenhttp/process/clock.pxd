# The clocks, monotonic all of them and the same in all processes of a machine. Nothing to load: C that is inlined.

from libc.stdint cimport int64_t

cdef extern from *:
    """
    #include <time.h>

    /* The coarse clock is read without a system call and without the hardware counter (about 5 ns, against 25);
       it moves every 1 to 4 ms, which is enough for deadlines counted in seconds. */
    static inline double greenhttp_clock(void) {
        struct timespec now;
    #if defined(CLOCK_MONOTONIC_COARSE)
        clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    #elif defined(CLOCK_MONOTONIC_RAW_APPROX)
        clock_gettime(CLOCK_MONOTONIC_RAW_APPROX, &now);
    #else
        clock_gettime(CLOCK_MONOTONIC, &now);
    #endif
        return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    }

    static inline double greenhttp_fine_clock(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    }

    static inline int64_t greenhttp_nanoseconds(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    }
    """
    double clock "greenhttp_clock"() noexcept               # seconds, coarse: for deadlines and beats
    double fine_clock "greenhttp_fine_clock"() noexcept     # seconds: who asks for a millisecond must not get four
    int64_t nanoseconds "greenhttp_nanoseconds"() noexcept  # for durations
