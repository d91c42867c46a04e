"""What permessage-deflate costs a message, a Python call included, and how much of it is left.

The messages are JSON as a chat sends it, each another one; the share that is left is in the label.
"""

import json
import random

from greenhttp.wire.handshake import Deflate
from greenhttp.wire.websocket import Codec, Opcode, frame
from perf.micro import best_of

TEXT = "the quick brown fox jumps over the lazy dog server message room hello world status update order price"
WORDS = TEXT.split(" ")
MODES = {"shared": Deflate(), "takeover": Deflate(12, 12, True, True)}
MASK = b"\x5a\xc3\x0f\x96"


def messages(size: int, count: int = 200) -> list[bytes]:
    chance = random.Random(size)
    made = []
    for _ in range(count):
        fields = {"type": "message", "room": "general", "user": chance.choice(WORDS), "id": chance.randrange(10**9)}
        text = " ".join(chance.choices(WORDS, k=size))
        made.append(json.dumps({**fields, "text": text}).encode()[:size])
    return made


def run() -> list[tuple[str, float]]:
    rows = []
    for mode, agreed in MODES.items():
        for size in (128, 1024, 16384):
            plain = messages(size)
            sender, receiver = Codec(client=True, compression=agreed), Codec(compression=agreed)
            payloads = [sender.outgoing(data) for data in plain]
            frames = [
                frame(Opcode.OP_TEXT, payload, mask=MASK, compressed=compressed) for payload, compressed in payloads
            ]
            left = sum(len(payload) for payload, _ in payloads) / sum(map(len, plain))

            def send(n: int, sender: Codec = sender, plain: list[bytes] = plain) -> None:
                for _ in range(n):
                    for data in plain:
                        sender.outgoing(data)

            def receive(n: int, agreed: Deflate = agreed, frames: list[bytes] = frames) -> None:
                for _ in range(n):  # a new one: what refers to messages before it can be read once
                    receiver = Codec(compression=agreed)
                    for data in frames:
                        receiver.receive(data)

            assert [receiver.receive(data)[0][1].encode() for data in frames] == plain
            rows.append((f"{mode}: compress {size} B to {left:.0%}", best_of(send, 3) / len(plain)))
            rows.append((f"{mode}: inflate {size} B", best_of(receive, 3) / len(plain)))
    return rows
