"""What reading and writing frames costs, without the Python around it: `python -m perf micro wire_websocket`.

"fresh": the input is copied each time, since text beyond ASCII is unmasked in place: less the copy, as the row says.
"""

from greenhttp.wire.websocket import Codec, Opcode, _bench_encode, _bench_mask, frame
from perf.micro import best_of

MASK = b"\x5a\xc3\x0f\x96"
SIZES = {"32 B": 32, "4 KiB": 4096, "64 KiB": 65536}


def times(size: int) -> int:
    return max(500, 20_000_000 // (size + 2000))


def decode(opcode: int, payload: bytes, *, parts: int = 1, fresh: bool = False) -> float:
    """ns for a message, whole in the input."""
    step = len(payload) // parts
    data = b"".join(
        frame(
            opcode if i == 0 else Opcode.OP_CONTINUATION, payload[i * step : (i + 1) * step], mask=MASK,
            last=i == parts - 1,
        )
        for i in range(parts)
    )  # fmt: skip
    codec = Codec()
    return best_of(lambda n: codec._bench_decode(data, n, fresh), times(len(payload)))


def run() -> list[tuple[str, float]]:
    rows = []
    for label, size in SIZES.items():
        data, text = bytes(size), ("Grüße, 世界! " * size).encode()[: size - 8].decode(errors="ignore").encode()
        rows += [
            (f"read a binary message of {label}", decode(Opcode.OP_BINARY, data)),
            (f"read ASCII of {label}", decode(Opcode.OP_TEXT, data)),
            (f"read text beyond ASCII of {label}, fresh", decode(Opcode.OP_TEXT, text, fresh=True)),
            (f"read ASCII of {label} in four fragments", decode(Opcode.OP_TEXT, data, parts=4)),
            (f"write a frame of {label}", best_of(lambda n, data=data: _bench_encode(data, n), times(size))),
            (f"mask {label}", best_of(lambda n, data=data: _bench_mask(data, n, False), times(size))),
            (f"mask {label}, a byte at a time", best_of(lambda n, data=data: _bench_mask(data, n, True), times(size))),
        ]
    return rows
