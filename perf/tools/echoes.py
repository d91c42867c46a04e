"""What greenhttp is asked on WebSockets: the echo in its two styles, a green thread that waits and a callback; and
rooms, where one message goes to all, by `broadcast` or by bare calls of send."""

import ctypes
import os
import socket
from functools import cache

from greenhttp import broadcast, websocket
from perf.tools import build

ALL, MESSAGE = "all", bytes(range(256)) * 4
FRAME = b"\x82\x7e\x04\x00" + MESSAGE
"""RFC 6455, section 5.2: the whole of a binary message of 1,024 bytes."""


@websocket
def handler(ws):
    for message in ws:
        ws.send(message)


def on_message(request):
    return request.websocket(on_message=lambda ws, message: ws.send(message))


def _connected(without: int) -> list[int]:
    """Descriptors of TCP connections, but that of the client with this port."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as it:
                if it.family == socket.AF_INET and it.getpeername()[1] != without:
                    found.append(int(name))
        except OSError:
            continue  # none, or one that listens
    return found


@cache
def _bare(without: int):
    """A call that sends to all; made once, since looking for the descriptors is no part of what is measured."""
    numbers = _connected(without)
    send_all = ctypes.CDLL(str(build.bare_send())).send_all
    array = (ctypes.c_int * len(numbers))(*numbers)
    return lambda: send_all(array, len(numbers), FRAME, ctypes.c_long(len(FRAME)))


def rooms(request):
    """A WebSocket that is in the group of all; /bare and /broadcast, with the client's port as query, answer how many
    the message went to."""
    if request.is_websocket:
        ws = request.websocket(on_message=lambda ws, message: ws.send(message))
        ws.join(ALL)
        return ws
    way, _, port = request.target.partition("?")
    return str(_bare(int(port))() if way == "/bare" else broadcast(ALL, MESSAGE))
