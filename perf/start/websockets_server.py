"""websockets on asyncio's own loop, without the compression that nobody asks for here."""

import asyncio

from websockets.asyncio.server import serve

from perf.start import PORT


async def echo(websocket):
    async for message in websocket:
        await websocket.send(message)


async def main():
    async with serve(echo, "127.0.0.1", PORT, backlog=4096):
        await asyncio.Future()


asyncio.run(main())
