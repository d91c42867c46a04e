"""A server in a thread of its own, and a client that reads answers strictly.

The server's hub lives in that thread, so that tests use plain blocking sockets and nothing is patched. Leaving the
`with` block drains the server: what it logs and calls afterwards is all there then.
"""

import socket
import threading

import gevent

from greenhttp import Server

TIMEOUT = 30  # seconds; only a hang takes as long


class Serving:
    """`with Serving(app, setting=...) as served:`; `served.connect()` gives a Client."""

    def __init__(self, app, **settings):
        self.app = app
        self.settings = {"bind": "127.0.0.1:0", **settings}
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.error = None
        self.finished = False

    def _run(self):
        try:
            self.server = Server(self.app, **self.settings)
            self.server.start()
            # Not loop.run_callback_threadsafe: on libuv that touches the loop while its own thread may be inside it.
            self.asked_to_stop = gevent.get_hub().loop.async_()
            self.asked_to_stop.start(lambda: gevent.spawn(self._stop))
            self.address = self.server.address
        except BaseException as error:
            self.error = error
            return
        finally:
            self.ready.set()
        self.server.serve_forever()
        self.asked_to_stop.close()
        gevent.get_hub().destroy(destroy_loop=True)

    def __enter__(self):
        self.thread.start()
        self.ready.wait(TIMEOUT)
        if self.error:
            raise self.error
        return self

    def __exit__(self, kind, *_):
        self.timeout = 10 if kind is None else 0
        self.asked_to_stop.send()
        self.thread.join(TIMEOUT)
        assert not self.thread.is_alive()
        assert self.finished or kind is not None, "a connection was never given up"

    def _stop(self):
        self.finished = self.server.stop(self.timeout)

    def connect(self):
        return Client(self.address)

    def get(self, target="/", *lines, **more):
        with self.connect() as client:
            return client.get(target, *lines, **more)


class Reply:
    """Status, reason, fields as a list of pairs with names in small letters, body, and how the body was framed."""

    def __init__(self, file, method="GET"):
        line = file.readline()
        if not line:
            raise EOFError("no answer")
        assert line.endswith(b"\r\n"), line
        version, status, self.reason = line[:-2].decode("latin-1").split(" ", 2)
        assert version == "HTTP/1.1"
        self.status = int(status)
        self.fields = []
        while (line := file.readline()) != b"\r\n":
            assert line.endswith(b"\r\n"), line
            name, _, value = line[:-2].decode("latin-1").partition(": ")
            self.fields.append((name.lower(), value))
        self.framing, self.body, self.whole = self._content(file, method)

    def _content(self, file, method):
        length, coding = self["content-length"], self["transfer-encoding"]
        assert length is None or coding is None
        if method == "HEAD" or self.status < 200 or self.status in (204, 304):
            return "none", b"", True
        if coding is not None:
            assert coding == "chunked"
            return "chunked", *self._chunks(file)
        if length is None:
            return "close", file.read(), True
        body = file.read(int(length))
        return "length", body, len(body) == int(length)

    @staticmethod
    def _chunks(file):
        body = b""
        while line := file.readline():
            size = int(line, 16)
            data = file.read(size)
            body += data
            if file.read(2) != b"\r\n":
                break
            if size == 0:
                return body, True
        return body, False

    def __getitem__(self, name):
        values = [value for key, value in self.fields if key == name]
        assert len(values) < 2, f"{name} {len(values)} times"
        return values[0] if values else None

    @property
    def text(self):
        return self.body.decode()


class Client:
    """One connection."""

    def __init__(self, address):
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX) if isinstance(address, str) else None
        if self.socket:
            self.socket.settimeout(TIMEOUT)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, TIMEOUT)
        self.file = self.socket.makefile("rb")

    def send(self, data):
        self.socket.sendall(data)

    def read(self, method="GET"):
        return Reply(self.file, method)

    def request(self, method, target, *lines, body=b"", version="1.1"):
        """Send one request. `lines`: further field lines, str or bytes."""
        target = target if isinstance(target, bytes) else target.encode("latin-1")
        lines = [line if isinstance(line, bytes) else line.encode("latin-1") for line in lines]
        head = [method.encode() + b" " + target + b" HTTP/" + version.encode()]
        if not any(line.lower().startswith(b"host:") for line in lines):
            head.append(b"Host: test")
        if body and not any(line.lower().startswith((b"content-length:", b"transfer-encoding:")) for line in lines):
            head.append(b"Content-Length: %d" % len(body))
        self.send(b"\r\n".join([*head, *lines]) + b"\r\n\r\n" + body)

    def get(self, target="/", *lines, method="GET", **more):
        self.request(method, target, *lines, **more)
        return self.read(method)

    def at_end(self):
        """Whether the server has closed; waits for that, or for more bytes."""
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.file.close()
        self.socket.close()

    def reset(self):
        """Go away so that the server cannot mistake it for the end of sending."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
