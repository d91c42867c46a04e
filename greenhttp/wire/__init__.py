"""Bytes to values and back. No socket, green thread, clock, log or environment; imports nothing but greenhttp.errors.

    head.pyx      a request head -> Head: line, fields, framing, persistence. Begin here.
    body.pyx      chunked bodies: the decoder, and the chunk writer
    names.pyx     known field names and their lookup
    host.pyx      host [":" port], checked
    scan.pxd      inline loops over bytes

Errors are WireError and LimitError; after one nothing more may be read as HTTP from that connection.
"""
