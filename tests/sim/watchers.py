"""The watchers of the simulated loop: what gevent's loops hand out."""

from heapq import heappush

from greenlet import getcurrent


class Callback:
    """What `run_callback` returns."""

    __slots__ = ("callback", "args")

    def __init__(self, callback, args):
        self.callback = callback
        self.args = args

    def stop(self):
        self.callback = self.args = None

    close = stop

    def __bool__(self):
        return self.args is not None

    @property
    def pending(self):
        return self.callback is not None


class Watcher:
    """Base of the watchers; by itself one that never comes: child, fork, async, signal."""

    __slots__ = ("loop", "callback", "args", "active", "pending", "_ref", "priority", "__weakref__")

    def __init__(self, loop, ref=True, priority=None):
        self.loop = loop
        self.callback = self.args = None
        self.active = self.pending = False
        self._ref = ref
        self.priority = priority or 0

    @property
    def ref(self):
        return self._ref

    @ref.setter
    def ref(self, ref):
        ref = bool(ref)
        if ref != self._ref:
            self._ref = ref
            if self.active:
                self.loop.refs += 1 if ref else -1

    def start(self, callback, *args, update=None, pass_events=False):
        if not callable(callback):
            raise TypeError(f"Expected callable, not {callback!r}")
        self.callback = callback
        self.args = args
        if not self.active:
            self.active = True
            if self._ref:
                self.loop.refs += 1
            self.begin()

    def stop(self):
        if self.active:
            self.active = False
            if self._ref:
                self.loop.refs -= 1
            self.end()
        self.pending = False
        self.callback = self.args = None

    def close(self):
        self.stop()

    def begin(self):
        """The loop calls it from now on."""

    def end(self):
        """No longer."""

    def send(self):
        """Of async watchers."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Gathered(Watcher):
    """idle, check, prepare: those that are active are in a list of the loop."""

    __slots__ = ("all",)

    def __init__(self, loop, ref, priority, all_of_them):
        Watcher.__init__(self, loop, ref, priority)
        self.all = all_of_them

    def begin(self):
        self.all.append(self)

    def end(self):
        self.all.remove(self)


class Timer(Watcher):
    __slots__ = ("after", "repeat", "due")

    def __init__(self, loop, after=0.0, repeat=0.0, ref=True, priority=None):
        if repeat < 0:
            raise ValueError("repeat must be positive or zero")
        Watcher.__init__(self, loop, ref, priority)
        self.after = after
        self.repeat = repeat

    def start(self, callback, *args, update=None):
        loop = self.loop
        if loop.in_callbacks if update is None else update:
            loop.update_now()
        if self.after == 0 and getcurrent() is not loop.hub:
            green = getcurrent()
            loop.sharing.add(id(green))  # not itself: held, it would not be used again
            if loop.on_sharing is not None:
                loop.on_sharing(green)
        Watcher.start(self, callback, *args)

    def again(self, callback, *args, update=True):
        self.stop()
        self.after = self.repeat
        self.start(callback, *args, update=update)

    def begin(self):
        loop = self.loop
        self.due = loop.time + max(self.after, loop.finest if self.after else 0.0)
        loop.serial += 1
        heappush(loop.timers, (self.due, loop.serial, self))

    def end(self):
        self.due = None  # its entry in the heap is stale


class Io(Watcher):
    __slots__ = ("_fd", "events")

    def __init__(self, loop, fd, events, ref=True, priority=None):
        Watcher.__init__(self, loop, ref, priority)
        self._fd = fd
        self.events = events

    @property
    def fd(self):
        return self._fd

    @fd.setter
    def fd(self, fd):
        if self.active:
            raise AttributeError("'io' watcher attribute 'fd' is read-only while watcher is active")
        self._fd = fd

    def begin(self):
        loop = self.loop
        loop.ios.setdefault(self._fd, []).append(self)
        loop.c.watch(self._fd, loop.interest(self._fd))

    def end(self):
        loop = self.loop
        mine = loop.ios[self._fd]
        mine.remove(self)
        if not mine:
            del loop.ios[self._fd]
        loop.c.watch(self._fd, loop.interest(self._fd))


class Handle:
    """What the watchers of one descriptor share on libuv. gevent passes no `ref` on from them to it."""

    __slots__ = ("loop", "fd", "_ref", "counted", "watchers")

    def __init__(self, loop, fd, ref):
        self.loop = loop
        self.fd = fd
        self._ref = ref
        self.counted = False
        self.watchers = 0  # that are not closed

    @property
    def ref(self):
        return self._ref

    @ref.setter
    def ref(self, ref):
        self._ref = bool(ref)
        self.count()

    def count(self):
        counts = self._ref and self.fd in self.loop.ios
        if counts != self.counted:
            self.counted = counts
            self.loop.refs += 1 if counts else -1


class SharedIo(Io):
    """A watcher of libuv: its `ref` is that of the handle."""

    __slots__ = ("_watcher_ref",)

    def __init__(self, loop, fd, events, ref=True, priority=None):
        Io.__init__(self, loop, fd, events, False, priority)
        fresh = Handle(loop, fd, ref)  # first: making it may run a finalizer, and that make another for this descriptor
        handle = loop.handles.setdefault(fd, fresh)
        handle.watchers += 1
        self._watcher_ref = handle

    def close(self):
        Io.close(self)
        handle, self._watcher_ref = self._watcher_ref, None
        if handle is not None:
            handle.watchers -= 1
            if handle.watchers == 0:
                del self.loop.handles[handle.fd]

    @property
    def ref(self):
        return self._watcher_ref is not None and self._watcher_ref.ref

    @ref.setter
    def ref(self, ref):
        """Nothing, as in gevent."""

    def begin(self):
        Io.begin(self)
        self._watcher_ref.count()

    def end(self):
        Io.end(self)
        self._watcher_ref.count()
