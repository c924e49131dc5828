"""Text as people may see it: without control characters, and without the secrets of addresses.

Names of columns, files and categories, and messages of other libraries, may hold anything: a
terminal obeys escape sequences, a carriage return hides what stood before it, marks of writing
direction swap what is read, and half a surrogate pair can be written nowhere. All of these are
shown by their escapes.
"""

import hashlib
import logging
import re
import traceback
from typing import Any

from pipeline_lib.addresses import without_secrets

_HASH = re.compile(r"#[0-9a-f]{8}")
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


def hashed(value: object) -> str | None:
    """Return what stands for a value that may not be shown: 32 bits of its sha256.

    Equal values have equal hashes, so that they can be distinguished and found again. Anyone who
    can guess the value can confirm it.

    >>> hashed("ann@example.org"), hashed(hashed("ann@example.org")), hashed(None)
    ('#438c4c7a', '#438c4c7a', None)
    """
    if value is None:
        return None
    text = value if isinstance(value, str) else repr(value)
    if _HASH.fullmatch(text):
        return text
    return f"#{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def show_log_lines() -> None:
    """Make every log line of this process printable, whatever logger and handler it passes."""
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
