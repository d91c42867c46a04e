"""What one request head costs: `python -m perf.micro.wire_head`."""

from __future__ import annotations

from time import perf_counter_ns

from greenhttp.wire.head import Head

SMALL = b"GET / HTTP/1.1\r\nHost: localhost:8000\r\n\r\n"

BROWSER = (
    b"GET /news/today?page=2&sort=new HTTP/1.1\r\n"
    b"Host: www.example.com\r\n"
    b"Connection: keep-alive\r\n"
    b'sec-ch-ua: "Chromium";v="124", "Google Chrome";v="124", "Not-A.Brand";v="99"\r\n'
    b"sec-ch-ua-mobile: ?0\r\n"
    b'sec-ch-ua-platform: "Linux"\r\n'
    b"Upgrade-Insecure-Requests: 1\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    b"Chrome/124.0.0.0 Safari/537.36\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    b"Sec-Fetch-Site: same-origin\r\n"
    b"Sec-Fetch-Mode: navigate\r\n"
    b"Sec-Fetch-Dest: document\r\n"
    b"Accept-Encoding: gzip, deflate, br\r\n"
    b"Accept-Language: en-GB,en;q=0.9\r\n"
    b"Cookie: session=0123456789abcdef; theme=dark\r\n"
    b"\r\n"
)

UNKNOWN = b"GET / HTTP/1.1\r\nHost: h\r\n" + b"".join(b"X-Unknown-%02d: v%d\r\n" % (i, i) for i in range(20)) + b"\r\n"

LONG = b"GET / HTTP/1.1\r\nHost: h\r\nCookie: " + b"a" * 4000 + b"\r\n\r\n"


def best(head: Head, data: bytes, n: int) -> float:
    """The quickest of five runs, in nanoseconds per head: noise only ever adds."""
    times = []
    for _ in range(5):
        start = perf_counter_ns()
        head._bench_parse(data, n)
        times.append((perf_counter_ns() - start) / n)
    return min(times)


def run() -> list[tuple[str, float]]:
    head = Head()
    return [
        ("head: 2 lines", best(head, SMALL, 50_000)),
        (f"head: browser, 14 fields, {len(BROWSER)} bytes", best(head, BROWSER, 20_000)),
        ("head: 20 unknown fields", best(head, UNKNOWN, 20_000)),
        ("head: a cookie of 4,000 bytes", best(head, LONG, 20_000)),
    ]


if __name__ == "__main__":
    for label, ns in run():
        print(f"{ns:9.1f} ns  {label}")
