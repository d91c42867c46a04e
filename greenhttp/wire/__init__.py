"""Bytes <-> values of HTTP/1.x: bytes in, values out. No socket, no green thread, no clock, no log.

    head        request line and fields -> Head; the scan resumes where it stopped. Begin here.
    body        the chunked decoder, and what writes chunks
    proxy       the PROXY protocol: what a proxy says before the first byte of its client
    response    status and fields -> bytes; framing, and whether the connection persists
    names       known field names and their lookup
    host        host [":" port], checked
    forwarded   what proxies write of the client: X-Forwarded-For and the like, Forwarded (RFC 7239)
    scan        inline loops over bytes

Bytes that break a rule raise errors.WireError, which carries the status to answer with; nothing more may be read as
HTTP from that connection then. Imports errors and nothing else of the house; http joins it with green.
"""
