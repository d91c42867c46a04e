"""picows: callbacks in C, no coroutine for a connection. Its default backlog is 100."""

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

from perf.start import PORT


class Echo(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame):
        if frame.msg_type == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_bytes())


async def main():
    server = await ws_create_server(lambda request: Echo(), "127.0.0.1", PORT, backlog=4096)
    await server.serve_forever()


uvloop.run(main())
