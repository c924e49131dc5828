"""Text as people may see it: without control characters, and without the secrets of addresses.

Names of columns, files and categories, and what other libraries say, may hold anything: a terminal
obeys escape sequences, a carriage return hides what stood before it, marks of writing direction
swap what is read, and half a surrogate pair can be written nowhere. All of these are shown by
their escapes.
"""

import logging
import traceback
from typing import Any

from pipeline_lib.addresses import without_secrets

_CONTINUED = "\n    "


def printable(text: str) -> str:
    r"""Return a text on one line, each character that draws nothing as its escape.

    >>> printable("a\x1b[2Kb\u202ec")
    'a\\x1b[2Kb\\u202ec'
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def shown(text: str) -> str:
    """Return a message that may have several lines: printable, and without secrets."""
    return "\n".join(printable(line) for line in without_secrets(text).split("\n"))


def show_log_lines() -> None:
    """Make every log line of this process printable, whoever writes and whoever handles it."""
    logging.setLogRecordFactory(_ShownRecord)


class _ShownRecord(logging.LogRecord):
    """A record whose message and traceback are shown as text; later lines of it are indented."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        if self.exc_info and self.exc_info[0] is not None:
            # Handlers print this in place of a text of their own.
            self.exc_text = shown("".join(traceback.format_exception(*self.exc_info)).rstrip())

    def getMessage(self) -> str:  # noqa: N802 - logging's name
        """Return the message."""
        return shown(super().getMessage()).replace("\n", _CONTINUED)
