"""What clients send before their first byte in a world with the PROXY protocol: a header, split anywhere; a late one,
none, another thing, or a part of one before they go."""

from tests import proxied

MANNERS = {"good": 12, "late": 3, "none": 1, "wrong": 1, "silent": 1, "finishes": 1, "resets": 1}
WRONG = (
    b"PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n", b"PROXY TCP4\r\n", b"PROXY UNKNOWN" + b"x" * 200, b"\x16\x03\x01\x02\x00",
    proxied.v2("10.0.0.1", 1, proxied.tlv(3, b"none")), proxied.SIGNATURE + b"\x21\x11\xff\xff", b"\r\n\r\n\r\n",
)  # fmt: skip
LATE = (0.3, 1.0, 2.0)  # seconds, less than `proxy_timeout`


class Preface:
    """Of one client.

    Attributes:
        source: (host, port) that it names, another for each client; None: the peer stays who it is.
        header: its bytes, b"" where it sends none that could be followed by a request.
        good: whether a request may follow it; else nothing may be answered.
    """

    def __init__(self, plan, name):
        self.chance = chance = plan.chance(f"p{name}")
        self.manner = chance.choices(list(MANNERS), list(MANNERS.values()))[0]
        self.good = self.manner in ("good", "late")
        number = int(name[1:])
        self.source = chance.choice((f"10.1.{number >> 8}.{number & 255}", f"2001:db8::{number + 1:x}")), 1000 + number
        kind = chance.choice(("v1", "v1", "v2", "v2", "tlvs", "local", "unknown"))
        if kind == "v1":
            to = "::1" if ":" in self.source[0] else "10.0.0.1"
            self.whole = proxied.v1(*self.source, to)
        elif kind == "v2":
            self.whole = proxied.v2(*self.source)
        elif kind == "tlvs":
            unique = proxied.tlv(proxied.UNIQUE_ID, b"%d" % number)
            self.whole = proxied.v2(*self.source, unique, proxied.tls(version=b"TLSv1.3"), crc=True)
        else:
            self.source = None
            self.whole = b"PROXY UNKNOWN\r\n" if kind == "unknown" else proxied.block(0, b"x" * 9, proxied.LOCAL)
        self.header = self.whole if self.good else b""

    def put_before(self, steps):
        """The steps of the client, with this before them."""
        chance, whole = self.chance, self.whole
        if self.manner == "none":
            return steps
        if self.manner == "wrong":
            return [("send", chance.choice(WRONG))]
        cuts = sorted(chance.randrange(len(whole) + 1) for _ in range(chance.choice((0, 1, 2, 6))))
        pieces = [whole[at:end] for at, end in zip([0, *cuts], [*cuts, len(whole)], strict=True) if end > at]
        before = []
        for piece in pieces:
            before += (("send", piece), ("wait", chance.choice((0, 0, 0.0003, 0.005))))
        if not self.good:
            before = before[: 2 * chance.randrange(len(pieces))]  # never the last piece
            return before + {"silent": [], "finishes": [("finish",)], "resets": [("reset",)]}[self.manner]
        if self.manner == "late":
            before.insert(chance.randrange(len(before)), ("wait", chance.choice(LATE)))
        elif steps and steps[0][0] == "send" and chance.random() < 0.5:
            before[-2:] = [("send", pieces[-1] + steps[0][1])]  # the first request comes with it
            steps = steps[1:]
        return before + steps
