"""disconnected.py: the work of a client that has gone stops, that of one which waits does not."""

import signal
import socket

from tests.examples.example import Example

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def test_the_work_stops_when_its_client_has_gone():
    with Example("disconnected.py", "127.0.0.1:0") as example:
        with socket.create_connection(example.address) as client:
            client.sendall(REQUEST)
        assert "nobody waits any more; stopped after" in example.stop(signal.SIGTERM)
