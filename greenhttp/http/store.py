"""A temporary file without a name, for content that is too large for memory. It goes with its last reference."""

import os
import tempfile


class Store:
    """Bytes that are written one after the other, and read at any place.

    Attributes:
        size: bytes written.

    Writing raises OSError, for example when the disk is full or no directory for temporary files can be used.
    """

    def __init__(self) -> None:
        self.fd = -1
        self.size = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Add these bytes."""
        if self.fd < 0:
            with tempfile.TemporaryFile(buffering=0) as file:
                self.fd = os.dup(file.fileno())
        view = memoryview(data)
        while view:
            written = os.pwrite(self.fd, view, self.size)
            view = view[written:]
            self.size += written

    def read(self, size: int, at: int) -> bytes:
        """At most `size` bytes from the place `at` on; b"" behind the end."""
        return os.pread(self.fd, size, at)

    def close(self) -> None:
        """Give the space back."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


def where() -> str:
    """` in /tmp`, for people: where Store writes; nothing if that is not known yet."""
    return f" in {tempfile.tempdir}" if tempfile.tempdir else ""
