"""What chunked decoding costs: `python -m perf.micro.wire_body`."""

from __future__ import annotations

from time import perf_counter_ns

from greenhttp.wire.body import ChunkedDecoder, chunk_head, last_chunk


def message(size: int, count: int) -> bytes:
    return (chunk_head(size) + b"x" * size + b"\r\n") * count + last_chunk()


def best(decoder: ChunkedDecoder, data: bytes, n: int, parts: int) -> float:
    """The quickest of five runs, in nanoseconds per part: noise only ever adds."""
    times = []
    for _ in range(5):
        start = perf_counter_ns()
        decoder._bench_decode(data, n)
        times.append((perf_counter_ns() - start) / n / parts)
    return min(times)


def run() -> list[tuple[str, float]]:
    decoder = ChunkedDecoder()
    return [
        ("body: a whole message of one chunk of 100 bytes", best(decoder, message(100, 1), 100_000, 1)),
        ("body: one chunk of 1 byte among 10,000", best(decoder, message(1, 10_000), 20, 10_000)),
        ("body: one chunk of 16 KiB among 16", best(decoder, message(16384, 16), 5_000, 16)),
    ]


if __name__ == "__main__":
    for label, ns in run():
        print(f"{ns:9.1f} ns  {label}")
