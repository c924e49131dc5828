"""Standard output and error that print what they can, and never end a command half-way.

A sign that the terminal's encoding lacks is written as its escape. What cannot be written at all,
because the disk is full or the reader has gone, is lost; the command goes on to its end.
"""

import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Lasting(io.RawIOBase):
    """A file descriptor that remembers its first failure instead of raising it."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.failure: OSError | None = None

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether a terminal is attached."""
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write bytes; after a failure they are dropped."""
        view = memoryview(data)
        while self.failure is None:
            try:
                return os.write(self._descriptor, view)
            except BlockingIOError:  # the reader of a pipe that does not block is slow
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.failure = error
        return view.nbytes


def prepare_streams() -> None:
    """Replace `sys.stdout` and `sys.stderr`, and open what the caller has closed.

    A closed one would give its number to the next file, and a child that prints would write there.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdout, sys.stderr = _lasting(1, sys.stdout), _lasting(2, sys.stderr)


def lost_output() -> str:
    """Return why output was lost, or an empty string; a reader who has seen enough is no reason."""
    stream: object = sys.stdout
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    sys.stdout.flush()
    if not isinstance(raw, Lasting) or raw.failure is None or raw.failure.errno == errno.EPIPE:
        return ""
    return raw.failure.strerror or str(raw.failure)


def _lasting(number: int, old: object) -> io.TextIOWrapper:
    is_text = isinstance(old, io.TextIOWrapper)
    return io.TextIOWrapper(
        io.BufferedWriter(Lasting(number)),
        encoding=old.encoding if is_text else "utf-8",
        errors="backslashreplace",
        line_buffering=old.line_buffering if is_text else True,
        write_through=old.write_through if is_text else False,
    )
