"""One connection's life: wire and green joined.

    connection  the loop: head -> app -> response -> keep or close
    service     what all connections of a server share: limits, phases, green threads, the fields of every answer
    request     Request and its content, which the handler pulls
    response    Delivery, an answer on its way out, and what it may carry: bytes, an iterable, a file; the server's own
                answers; App and Observer, which hosting and observe implement
    values,form what a handler reads by name: query parameters, form fields, uploads

Called by green.pool with a connection that is ready; calls the application it was given. Imports wire, green, config
and errors. Begin with connection: each way out of its loop says why it ends.
"""
