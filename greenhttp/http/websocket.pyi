from greenhttp.wire.handshake import VERSION as VERSION
