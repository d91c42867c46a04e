"""Bytes <-> values of HTTP/1.x: bytes in, values out. No socket, no green thread, no clock, no log.

    head        request line and fields -> Head; the scan resumes where it stopped
    body        which framing; length and chunked readers; chunk writer
    response    status and fields -> bytes; whether the connection may stay open

A Head tells body how the content is framed; response is told by both whether to keep the connection. Bytes that break a
rule raise errors.WireError, which carries the status to answer with. Imports errors and nothing else of the house; http
joins it with green. Begin with head.
"""
