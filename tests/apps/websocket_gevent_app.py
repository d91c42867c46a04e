"""What is written for gevent-websocket: environ["wsgi.websocket"], and its Resource of applications."""

from geventwebsocket import Resource, WebSocketApplication, WebSocketError


def plain(environ, start_response):
    ws = environ.get("wsgi.websocket")
    if ws is None:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"a page\n"]
    ws.send(f"{ws.path} {ws.version} {ws.protocol} {ws.origin} {ws.closed}")
    while (message := ws.receive()) is not None:
        if message == "close":
            ws.close(4000, "as asked")
            break
        if message == "kind":
            ws.send(bytearray(b"mutable"))
        else:
            ws.send(message)
    try:
        ws.send("too late")
    except WebSocketError:
        log.append("told that it is closed")
    log.append(f"closed: {ws.closed}")
    return []


class Echo(WebSocketApplication):
    def on_open(self):
        self.ws.send("welcome")

    def on_message(self, message):
        if message is not None:
            self.ws.send(message)

    def on_close(self, reason):
        log.append("closed the application")


def tell(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [";".join(log).encode()]


log = []
applications = Resource([("^/echo", Echo), ("^/log", tell)])


def app(environ, start_response):
    return (plain if environ["PATH_INFO"] == "/plain" else applications)(environ, start_response)
