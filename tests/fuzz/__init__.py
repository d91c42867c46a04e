"""Fuzzing: bytes nobody thought of, against rules written down a second time.

    rules        what HTTP/1 means, read slowly by other means than the server's
    properties   what must hold for any bytes: one function per target, used by the tests and by the fuzzer
    targets      the same at the fuzzer's speed, for those parsers that can be called without Python (compiled)
    fuzzer.c     libFuzzer's main, with Python inside
    build        clang and its sanitizers into build/fuzz
    __main__     `make fuzz`
    corpus/      inputs to begin with, a directory per target; http.dict, words to put into them

How to run it and what it has found so far: README.md.
"""
