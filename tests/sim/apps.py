"""The applications of a world: one run of one request is a Visit, whatever the interface.

A visit does what its request's plan says - waits, reads, answers in some style, and what is odd about it - and checks
what reaches it: its own content whole and in order, a context of its own, no exception that was meant for another.
"""

import contextlib
import contextvars
import gc
import os
import weakref

import gevent
from gevent.event import Event
from gevent.queue import Empty, Queue
from greenlet import GreenletExit, getcurrent

from greenhttp.errors import BodyError, HTTPError, RequestTimeout, StreamClosed, StreamTimeout, StreamTruncated
from greenhttp.green import nap
from greenhttp.hosting.handler import Response
from greenhttp.hosting.wsgi import FileWrapper
from tests.sim import foreign
from tests.sim.plan import ANSWER, BODY, LEFT, content

VAR = contextvars.ContextVar("request")


class Injected(Exception):
    """Thrown into a green thread by an adversity, for the request `rid` alone."""

    def __init__(self, rid):
        Exception.__init__(self, rid)
        self.rid = rid


class OwnTimeout(gevent.Timeout):
    """Of one request, wherever it comes."""

    def __init__(self, visit, seconds):
        gevent.Timeout.__init__(self, seconds)
        self.visit = visit
        self.rid = visit.asked.rid

    def _on_expiration(self, prev_greenlet, ex):
        world = self.visit.world
        world.hit("timeout", world.point_of(prev_greenlet))
        prev_greenlet.throw(ex)


class Text(str):
    """A str that is none of those the server knows by identity; its end is a finalizer."""

    litter = None


class Visit:
    """Arguments:
    world: the World.
    asked: what was asked.
    body: the content to be read: wsgi.input or Request.body.
    """

    def __init__(self, world, asked, body):
        self.world = world
        self.asked = asked
        self.body = StreamBody(self, body) if asked.lines else body
        self.at = self.was = "run"
        self.how = None  # it waits, whatever it is at
        self.seconds = 0.0  # of its last wait
        self.read_to = 0
        self.green = weakref.ref(getcurrent())  # a green thread that somebody holds is not used again
        self.file = self.timeout = None
        self.write = None
        asked.runs += 1
        asked.visit = self
        if asked.runs > 1:
            world.fail("a request ran twice", asked.story())
        if not asked.arrived:
            asked.arrived = True
        found = VAR.get(None)
        if (
            found is not None
            and not (asked.lines and world.asked_of(found).client is asked.client)
            and world.plan.settings["context"] != "thread"
        ):
            world.fail("a context variable of another request", f"that of r{found} in {asked.story()}")
        if asked.chance.random() < 0.5:
            VAR.set(asked.rid)
        world.visits[id(self.green())] = self
        world.c.note(1, asked.rid)

    # ---- checks

    def came_from(self, peer):
        """Whoever the server says has asked this must be whom its client has named, in a world of proxies."""
        preface = self.asked.client.preface
        if preface is None or preface.source == peer:
            return
        if not preface.good or preface.source is not None:
            self.world.fail("the peer of nobody", f"{peer} and not {preface.source}, {self.asked.story()}")

    def mine(self, error):
        """Whether an exception may arrive here; the world fails if not."""
        asked, world = self.asked, self.world
        point = self.at if self.at != "run" else self.was
        asked.event(f"{type(error).__name__} at {point}")
        if type(error) is gevent.Timeout and error.seconds == self.seconds:
            # That of its own wait, which came while a signal's handler held it up behind where gevent catches it.
            self.excuse(500)
        elif isinstance(error, (Injected, gevent.Timeout)):
            if not self.is_mine(getattr(error, "rid", None)):
                world.fail(
                    "an exception of another request", f"{error!r} of r{getattr(error, 'rid', None)} in {asked.story()}"
                )
        elif isinstance(error, GreenletExit):
            if not (any(each.killed for each in self.together()) or world.cutting):
                world.fail("an exception of another request", f"{error!r} in {asked.story()}")
        elif isinstance(error, RequestTimeout):
            if not world.plan.settings["request_timeout"]:
                world.fail("a RequestTimeout without a limit", asked.story())
            self.excuse(503)
        elif isinstance(error, (BodyError, StreamClosed, StreamTimeout, ConnectionError, AssertionError, RuntimeError)):
            disturbed = any(
                each.disturbed for each in asked.client.asked
            )  # output of an earlier one may have been lost
            # Who reads so slowly that the time of a stop is over before is cut.
            slowly = world.phase == "stop" and asked.client.manner == "slow"
            if not (asked.client.may_end or disturbed or world.cutting or asked.client.ended or slowly):
                world.fail("an error without a cause", f"{error!r} in {asked.story()}")
            self.excuse(400, 408, 500)

    def together(self):
        """The requests that share a green thread with this one: those of one stream."""
        return self.asked.client.asked if self.asked.lines else (self.asked,)

    def is_mine(self, rid):
        return any(each.rid == rid for each in self.together())

    def excuse(self, *statuses):
        for asked in self.together():
            asked.may |= set(statuses)
            asked.may_cut = asked.may_close = asked.may_end_early = True

    def disturb(self, *statuses):
        """Something odd is about to happen to this request: it may fail, and its connection end."""
        for asked in self.together():
            asked.disturbed = True
        self.excuse(500, *statuses)

    # ---- steps

    def wait(self, how, seconds, at=None):
        before, self.at = self.at, at or how
        self.seconds, self.how = seconds, how
        try:
            if how == "nap":
                nap.sleep(seconds)
            elif how == "sleep":
                gevent.sleep(seconds)
            elif how == "sleep0":
                gevent.sleep(0)
            elif how == "event":
                Event().wait(seconds)
            elif how == "queue":
                with contextlib.suppress(Empty):
                    Queue().get(timeout=seconds)
        finally:
            self.was, self.at, self.how = self.at, before, None

    def took(self, data):
        right = content(self.asked.rid, self.asked.body_size, BODY)
        if self.asked.quirk == "left reader" and not self.asked.lines:  # who takes what nobody can tell
            if data not in right:
                self.world.fail("wrong content of a request", f"{data[:60]!r} in {self.asked.story()}")
            self.read_to = self.asked.body_size
            return
        if right[self.read_to : self.read_to + len(data)] != data:
            self.world.fail("wrong content of a request", f"at {self.read_to}: {data[:60]!r} in {self.asked.story()}")
        self.read_to += len(data)

    def read(self):
        asked, body, how = self.asked, self.body, self.asked.read
        if how == "none" and not asked.lines:
            return
        before, self.at = self.at, "read body"
        try:
            if how == "all":
                self.took(body.read())
            elif how == "exact":
                self.took(body.read(asked.body_size))
            elif how == "part":
                self.took(body.read(asked.body_size // 2))
                if not asked.lines:
                    return
                self.took(body.read())
            elif how == "lines":
                while data := body.readline(asked.chance.choice((-1, 1000))):
                    self.took(data)
            else:
                while data := body.read(1000) if how == "pieces" else body.read_some():
                    self.took(data)
            if (
                self.read_to != asked.body_size
                and asked.quirk != "left reader"
                and not (asked.lines and asked.client.may_end)
            ):
                self.world.fail("the content of a request ended early", f"{self.read_to} in {asked.story()}")
        finally:
            self.was, self.at = self.at, before

    def work(self):
        """All that comes before the answer."""
        asked = self.asked
        for how, seconds in asked.waits:
            self.wait(how, seconds)
        if asked.quirk == "body timeout":
            self.read_with_timeouts()
        else:
            self.read()

    def read_with_timeouts(self):
        """A gevent.Timeout may interrupt reading, and costs no byte."""
        for _ in range(3):
            timeout = OwnTimeout(self, self.asked.delay)
            try:
                with timeout:
                    return self.read()
            except OwnTimeout as error:
                self.mine(error)
        self.read()

    def safely(self, work, *args):
        """What the visit does, its exceptions looked at."""
        try:
            return work(*args)
        except HTTPError:
            raise
        except BaseException as error:
            self.mine(error)
            self.at = "after"  # what is thrown from now on means another
            raise

    def called(self, work, *args):
        """The application itself. If it raises, its request is over: whoever strikes now would meet the next one."""
        try:
            return self.safely(work, *args)
        except BaseException:
            self.at = "after"
            raise

    # ---- answers

    def bytes_of(self):
        return content(self.asked.rid, self.asked.size, ANSWER)

    def cut_up(self):
        data, count = self.bytes_of(), self.asked.pieces
        size = max(1, -(-len(data) // count))
        return [data[at : at + size] for at in range(0, len(data), size)] or [b""]

    def generate(self):
        """The pieces, with pauses between them."""
        asked = self.asked
        try:
            for piece in self.cut_up():
                if asked.pause:
                    self.wait(asked.pause, 0.0005)
                self.at = "write"
                yield piece
                self.at = "run"
            foreign.between_pieces(self)
        except GeneratorExit:
            raise
        except BaseException as error:
            self.mine(error)
            raise
        finally:
            self.done()

    def done(self):
        self.at = "after"

    def make_file(self):
        data = self.bytes_of()
        fd = os.memfd_create("content")
        os.write(fd, data) if data else None
        os.lseek(fd, 0, 0)
        self.file = fd
        return os.fdopen(fd, "rb", buffering=0)

    def fields(self):
        asked = self.asked
        fields = [("X-Id", str(asked.rid))]
        if asked.style == "sized":
            fields.append(("Content-Length", str(asked.size)))
        if asked.chance.random() < 0.2:
            fields.append(("Content-Type", "application/octet-stream"))
        return fields


class Closing:
    """An iterable whose close() is called by the server, once."""

    def __init__(self, visit):
        self.visit = visit
        self.pieces = iter(visit.cut_up())
        self.closed = False
        visit.asked.closings = self

    def __iter__(self):
        return self

    def __next__(self):
        visit = self.visit
        if visit.asked.pause:
            visit.safely(visit.wait, visit.asked.pause, 0.0005)
        visit.at = "write"
        return next(self.pieces)

    def close(self):
        visit = self.visit
        if self.closed:
            visit.world.fail("close() was called twice", visit.asked.story())
        self.closed = True
        visit.at = "close"
        try:
            foreign.in_close(visit)
        except BaseException as error:
            visit.mine(error)
            raise
        finally:
            visit.done()


# ---- WSGI


def wsgi(world):
    def app(environ, start_response):
        asked = world.asked_at(environ["PATH_INFO"])
        if asked is None:
            world.enter_gate()
            start_response("200 OK", [("X-Id", "-1")])
            return [b""]
        visit = Visit(world, asked, environ["wsgi.input"])
        visit.came_from((environ["REMOTE_ADDR"], int(environ["REMOTE_PORT"] or 0)))
        if environ["REQUEST_METHOD"] != asked.method or environ.get("HTTP_X_0", str(asked.rid)) != str(asked.rid):
            world.fail("fields of another request", f"{environ} in {asked.story()}")
        return visit.called(answer_wsgi, visit, environ, start_response)

    return app


def answer_wsgi(visit, environ, start_response):
    asked = visit.asked
    foreign.before(visit, environ, start_response)
    visit.work()
    status, fields = "200 OK", visit.fields()
    if asked.style == "subclass":
        status = Text(status)
        fields = [(Text(name), Text(value)) for name, value in fields]
    fields = foreign.with_litter(visit, fields)
    foreign.raise_early(visit)
    write = start_response(status, fields)
    visit.write = write
    foreign.with_write(visit, write)
    style = asked.style
    if style == "write":
        for piece in visit.cut_up():
            visit.at = "write"
            write(piece)
            visit.at = "run"
            if asked.pause:
                visit.wait(asked.pause, 0.0005)
        foreign.between_pieces(visit)
        visit.done()
        return []
    if style == "file":
        file = visit.make_file()
        foreign.with_file(visit)
        visit.done()
        return FileWrapper(file)
    if style in ("generator", "sized"):
        return visit.generate()
    if style == "closing":
        return Closing(visit)
    visit.done()
    return visit.cut_up()


# ---- native


def native(world):
    def app(request):
        asked = world.asked_at(request.path)
        if asked is None:
            world.enter_gate()
            return Response(b"", headers=[("X-Id", "-1")])
        visit = Visit(world, asked, request.body)
        visit.came_from(request.peer)
        if request.method != asked.method or request.headers.get("x-0", str(asked.rid)) != str(asked.rid):
            world.fail("fields of another request", f"{request} in {asked.story()}")
        return visit.called(answer_native, visit, request)

    return app


def answer_native(visit, request):
    asked = visit.asked
    foreign.before(visit, request, None)
    visit.work()
    fields = foreign.with_litter(visit, visit.fields())
    foreign.raise_early(visit)
    style = asked.style
    if style == "file":
        file = visit.make_file()
        foreign.with_file(visit)
        body = file
    elif style in ("generator", "sized"):
        body = visit.generate()
    elif style == "closing":
        body = Closing(visit)
    elif style == "list":
        body = b"".join(visit.cut_up())
    else:
        body = visit.bytes_of()
    if style not in ("generator", "sized", "closing"):
        visit.done()
    return Response(body, headers=fields)


def left_content(rid, size):
    return content(rid, size, LEFT)


# ---- stream


def next_line(stream, visit):
    """What is asked next. Who reads the answer before so slowly that this takes too long loses the rest of it."""
    try:
        line = stream.readline()
        if not line and stream.tls is not None and visit is not None and visit.asked.client.is_cut():
            visit.world.fail("an end without a goodbye looks whole", visit.asked.story())
        return line
    except StreamTruncated:
        if visit is not None and not visit.asked.client.is_cut():
            visit.world.fail("a goodbye is not seen", visit.asked.story())
        return b""
    except StreamTimeout:
        if visit is not None and visit.asked.client.manner == "slow":
            visit.excuse()
        raise


def stream(world):
    def handler(stream):
        stream.timeout = (25 + 2 * world.stalls) * world.scale
        visit = None
        while (line := next_line(stream, visit)).endswith(b"\n"):
            asked = world.asked_of(int(line)) if line != b"gate\n" else None
            if asked is None:
                world.enter_gate()
                stream.write(b"0 0 0\n\r\n\r\n 200")
                continue
            visit = Visit(world, asked, stream)
            visit.came_from(stream.peer)
            try:
                visit.safely(answer_stream, visit, stream)
            finally:
                visit.done()
                if visit.timeout is not None:
                    visit.timeout.cancel()

    return handler


def frame(asked, data, kind=ANSWER):
    return b"%d %d %d\n%b" % (kind, asked.rid, len(data), data)


def answer_stream(visit, stream):
    asked, style = visit.asked, visit.asked.style
    foreign.before(visit, stream, None)
    visit.work()
    foreign.raise_early(visit)
    foreign.with_stream(visit, stream)
    before, visit.at = visit.at, "write"
    if style == "file":
        file = visit.make_file()
        foreign.with_file(visit)
        stream.write(b"%d %d %d\n" % (ANSWER, asked.rid, asked.size))
        visit.at = "flush"
        sent = stream.sendfile(file, 0, asked.size)
        file.close()
        if sent < asked.size:
            raise Injected(asked.rid)  # it had shrunk before
    elif style == "lines":
        stream.writelines([frame(asked, piece) for piece in visit.cut_up()])
    else:
        pieces = visit.cut_up()
        if style == "small" and 0 < asked.size < 5000:
            pieces = [pieces[0][at : at + 100] for at in range(0, len(pieces[0]), 100)] + pieces[1:]
        for piece in pieces:
            stream.write(frame(asked, piece))
            if asked.pause:
                visit.wait(asked.pause, 0.0005)
            if style == "flush":
                visit.at = "flush"
                stream.flush()
                visit.at = "write"
    foreign.between_pieces(visit)
    stream.write(b"%d %d 0\n" % (9, asked.rid))
    visit.at = before


class StreamBody:
    """Reads as Body does, from a stream that goes on behind the content."""

    def __init__(self, visit, stream):
        self.visit = visit
        self.stream = stream

    def left(self):
        return self.visit.asked.body_size - self.visit.read_to

    def read(self, size=None):
        size = self.left() if size is None else min(size, self.left())
        return self.stream.readexactly(size)

    def read_some(self, size=65536):
        return self.stream.read_some(min(size, self.left())) if self.left() else b""

    def readline(self, size):
        return self.read_some(1000 if size < 0 else size)


APPS = {"wsgi": wsgi, "native": native, "stream": stream}

__all__ = ["APPS", "Closing", "Injected", "OwnTimeout", "Text", "VAR", "Visit", "gc"]
