"""WebSockets (RFC 6455) over streams: conversations written as if they blocked.

    socket      one WebSocket: what has come, what is to leave, how it ends; and what all of them share
    groups      named groups, and `broadcast`: encoded once for all

How bytes become messages is `wire.websocket`; how a request becomes a WebSocket, `http.websocket`. Nothing here knows
HTTP. The room has another name than `greenhttp.websocket`, whose place a package of that name would take.
"""
