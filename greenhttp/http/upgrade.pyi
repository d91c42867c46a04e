from greenhttp.wire.names import KNOWN_NAMES as KNOWN_NAMES
