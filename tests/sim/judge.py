"""What a client got, read and judged by rules that share no code with the server.

`Answers` takes the bytes of one connection as they come and splits them into answers, as strictly as RFC 9112 lets
anybody be. `judge` compares the answers with what was asked: each byte must belong to its own answer, in order, each
whole or visibly cut, and nothing behind a cut.
"""

import random

BLOCK = random.Random("content").randbytes(1 << 20)
ANSWER, BODY, LEFT = 0, 1, 2  # kinds of content: no two of these, of any two requests, are the same at any place
MOST_LEFT = 700_000  # bytes that a green thread writes that a request has left behind


def content(rid: int, size: int, kind: int = ANSWER) -> bytes:
    """The only bytes that may be sent as this content of this request."""
    start = (rid * 3 + kind) * 7919 % (1 << 19)
    whole = BLOCK[start : start + size]
    while len(whole) < size:
        whole += BLOCK[: size - len(whole)]
    return whole


class Wrong(Exception):
    """What must hold does not: `args[0]` is the kind, the rest the story."""


class Answer:
    """One answer. `complete`: it came to its end; `until_close`: only the end of the connection can say so."""

    __slots__ = ("status", "fields", "body", "chunks", "complete", "until_close", "last", "at")

    def __init__(self, status, fields):
        self.status = status
        self.fields = fields
        self.body = bytearray()
        self.chunks = []
        self.complete = self.until_close = False
        self.last = fields.get("connection") == "close"
        self.at = 0


class Frames:
    """The answers of a stream handler: frames of a kind, a request and a size, then so many bytes.

    A write is a frame. Those of two green threads may follow each other in any order, each whole.
    """

    DONE = 9

    def __init__(self, asked):
        self.asked = asked
        self.answers = []
        self.informational = []
        self.whole = 0
        self.buffer = bytearray()
        self.answer = None
        self.left_at = {}

    def feed(self, data):
        """Raises Wrong."""
        buffer = self.buffer
        buffer += data
        while True:
            end = buffer.find(b"\n", 0, 40)
            if end < 0:
                if len(buffer) >= 40:
                    raise Wrong("bytes where a frame must begin", bytes(buffer[:80]))
                return
            words = bytes(buffer[:end]).split(b" ")
            if len(words) != 3 or not all(word.isdigit() for word in words):
                raise Wrong("bytes where a frame must begin", bytes(buffer[:80]))
            kind, rid, size = map(int, words)
            have = len(buffer) - end - 1
            if kind == ANSWER and self.answer is None:
                self.answer = Answer(200, {"x-id": str(rid)})
                self.answers.append(self.answer)
            if have < size:
                return
            piece = bytes(buffer[end + 1 : end + 1 + size])
            del buffer[: end + 1 + size]
            if kind == LEFT:
                at = self.left_at.get(rid, 0)
                if piece != content(rid, at + size, LEFT)[at:]:
                    raise Wrong("a wrong byte", f"in a piece that r{rid} has left behind")
                self.left_at[rid] = at + size
            elif self.answer is None or self.answer.fields["x-id"] != str(rid):
                raise Wrong("the answer of another request", f"{words} in {self.answer and self.answer.fields}")
            elif kind == self.DONE:
                self.answer.complete = True
                self.answer = None
                self.whole += 1
            else:
                self.answer.body += piece


class Answers:
    """The answers on one connection.

    Arguments:
        asked: what was asked, in order: the answer to HEAD has no content.
    """

    def __init__(self, asked):
        self.asked = asked
        self.answers = []
        self.informational = []
        self.whole = 0  # complete ones
        self.buffer = bytearray()
        self.answer = None
        self.left = 0  # bytes of content, or of a chunk with its line end
        self.chunked = False

    def feed(self, data):
        """Raises Wrong."""
        self.buffer += data
        while self.step():
            pass

    def step(self):
        """Go on with what there is. Whether there may be more to do."""
        answer, buffer = self.answer, self.buffer
        if answer is None:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                if buffer and not b"HTTP/1.1 ".startswith(buffer[:9]):
                    raise Wrong("bytes where an answer must begin", bytes(buffer[:80]))
                return False
            head = bytes(buffer[:end])
            del buffer[: end + 4]
            self.begin(head)
            return True
        if answer.until_close:
            answer.body += buffer
            buffer.clear()
            return False
        if not self.chunked:
            piece = buffer[: self.left]
            answer.body += piece
            del buffer[: self.left]
            self.left -= len(piece)
            return self.left == 0 and self.finish()
        if self.left == 0:
            end = buffer.find(b"\r\n")
            if end < 0:
                if len(buffer) > 20:
                    raise Wrong("bytes where a chunk must begin", bytes(buffer[:80]))
                return False
            line = bytes(buffer[:end])
            try:
                size = int(line, 16)
            except ValueError:
                raise Wrong("bytes where a chunk must begin", line[:80]) from None
            if size == 0:
                if len(buffer) < end + 4:
                    return False
                if buffer[end : end + 4] != b"\r\n\r\n":
                    raise Wrong("bytes where the last chunk must end", bytes(buffer[:80]))
                del buffer[: end + 4]
                return self.finish()
            del buffer[: end + 2]
            answer.chunks.append(size)
            self.left = size + 2
            return True
        piece = buffer[: max(self.left - 2, 0)]
        answer.body += piece
        del buffer[: len(piece)]
        self.left -= len(piece)
        if self.left <= 2 and len(buffer) >= self.left:
            if buffer[: self.left] != b"\r\n"[2 - self.left :]:
                raise Wrong("bytes where a chunk must end", bytes(buffer[:80]))
            del buffer[: self.left]
            self.left = 0
            return True
        return False

    def begin(self, head):
        line, *rest = head.split(b"\r\n")
        version, _, status = line.partition(b" ")
        if version != b"HTTP/1.1" or not status[:3].isdigit() or status[3:4] != b" ":
            raise Wrong("bytes where an answer must begin", head[:80])
        fields = {}
        for field in rest:
            name, colon, value = field.partition(b": ")
            if not colon:
                raise Wrong("a line of a head is no field", field[:80])
            fields[name.decode("latin-1").lower()] = value.decode("latin-1")
        code = int(status[:3])
        if code < 200:
            self.informational.append((len(self.answers), code))
            return
        answer = self.answer = Answer(code, fields)
        if self.answers and self.answers[-1].last:
            raise Wrong("an answer behind the last one", head[:200])
        self.answers.append(answer)
        at = len(self.answers) - 1
        self.chunked = fields.get("transfer-encoding") == "chunked"
        bare = at < len(self.asked) and self.asked[at].method == "HEAD"
        if bare and answer.last and "x-id" not in fields:
            answer.until_close = True  # the server may refuse before it has seen that it is HEAD
        elif bare or code in (204, 304):
            self.finish()
        elif self.chunked:
            self.left = 0
        elif "content-length" in fields:
            self.left = int(fields["content-length"])
        else:
            answer.until_close = True

    def finish(self):
        self.answer.complete = True
        self.answer = None
        self.chunked = False
        self.whole += 1
        return True


def judge(client):
    """Compare what `client` got with what it asked. Raises Wrong."""
    answers = client.answers.answers
    stream = client.answers
    for at, answer in enumerate(answers):
        if at >= len(client.asked):
            if answer.status in client.may:
                continue
            raise Wrong("an answer that nobody asked for", f"{client.name}: {answer.status} {dict(answer.fields)}")
        asked = client.asked[at]
        name = f"{client.name} (connection {client.number + 1}): answer {at} to {asked.name}"
        if answer.until_close and client.ended == "eof":
            answer.complete = True
        if "x-id" not in answer.fields:
            check_own(client, asked, answer, name)
        else:
            check_content(asked, answer, name)
        if not answer.complete:
            if at != len(answers) - 1:
                raise Wrong("an answer behind a cut one", name)
            # A reset because of a later one overtakes what the client has not read, also one of its own making.
            overtaken = client.overtook and answer.last
            if not (client.may_cut or overtaken or any(each.may_cut for each in client.asked[at:])):
                raise Wrong(
                    "an answer was cut",
                    f"{name}: {len(answer.body)} bytes, {client.manner} {client.ended} {answer.fields} {asked.story()}",
                )
    if stream.buffer and stream.answer is None and not (client.may_cut or client.overtook or client.cut_excuse()):
        raise Wrong(
            "half an answer's head", f"{client.name}: {client.manner} {client.ended} {bytes(stream.buffer[:80])}"
        )
    for at in range(len(answers), len(client.asked)):
        if client.asked[at].sent and not client.may_end_before(at):
            last = answers[-1].fields if answers else None
            raise Wrong(
                "no answer", f"{client.name}: {client.manner} {client.ended}, {last}, {client.asked[at].story()}"
            )


def check_own(client, asked, answer, name):
    """An answer of the server itself."""
    if answer.status not in asked.may and answer.status not in client.may:
        raise Wrong(
            f"an unexpected {answer.status}", f"{name}: {client.manner} {bytes(answer.body[:2000])} {asked.story()}"
        )
    if answer.complete and not answer.body.isascii():
        raise Wrong("content in an answer of the server itself", name)


def check_content(asked, answer, name):
    if answer.fields["x-id"] != str(asked.rid):
        raise Wrong("the answer of another request", f"{name}: it is that of {answer.fields['x-id']}")
    if asked.runs == 0:
        raise Wrong("an answer of a request that never ran", name)
    body = bytes(answer.body)
    if answer.complete and asked.method == "HEAD":
        if body:
            raise Wrong("content in the answer to HEAD", name)
        return
    if asked.mixed:
        check_mixed(asked, answer, body, name)
        return
    right = content(asked.rid, asked.size)
    if body != right[: len(body)]:
        at = next(i for i in range(len(body)) if body[i : i + 1] != right[i : i + 1])
        raise Wrong("a wrong byte", f"{name}: at {at} of {asked.size}: {body[at : at + 40]!r} {asked.story()}")
    if answer.complete and len(body) < asked.size and not asked.may_end_early:
        raise Wrong("an answer that looks whole and is not", f"{name}: {len(body)} of {asked.size}")


def check_mixed(asked, answer, body, name):
    """Two green threads have written: pieces of both, each in its order, none torn."""
    own, left = content(asked.rid, asked.size), content(asked.rid, MOST_LEFT, LEFT)
    own_at = left_at = at = 0
    split = len(body) if own.startswith(body) else len(own)
    sizes = answer.chunks if answer.chunks else [split, len(body) - split]
    for size in sizes:
        piece = body[at : at + size]
        at += size
        if own.startswith(piece, own_at):
            own_at += len(piece)
        elif left.startswith(piece, left_at):
            left_at += len(piece)
        else:
            raise Wrong("a wrong byte", f"{name}: a piece of {size} bytes belongs to nobody: {piece[:40]!r}")
    if answer.complete and answer.chunks and own_at < asked.size and not asked.may_end_early:
        raise Wrong("an answer that looks whole and is not", f"{name}: {own_at} of {asked.size}")
