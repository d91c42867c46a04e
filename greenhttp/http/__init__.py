"""One connection's life: wire and green joined.

    connection  HTTP/1: the loop head -> application -> answer -> keep or close
    application how one request goes through it, by whatever protocol; App and Observer, for hosting and observe
    response    Delivery, an answer on its way out, and what it may carry: bytes, an iterable, a file
    request     Request, as a handler sees it
    exchange    the seam: what carries an answer. Connection is one
    body        the seam: what content comes from, and how it is read
    service     what all connections of a server share: limits, phases, green threads, the fields of every answer
    origin      who sent a request, by what scheme, to which host, under which path; hosts: those that are answered for
    preface     what comes before HTTP: how a PROXY header is read
    trace       what trace a request belongs to: W3C Trace Context
    values,form what a handler reads by name: query parameters, form fields, uploads

Called by green.pool with a connection that is ready; calls the application it was given. Imports wire, green,
process and errors. Begin with connection: each way out of its loop says why it ends.
"""
