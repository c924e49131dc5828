"""Log once a minute that a server is waited for: its client alone would be silent."""

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager
from threading import Timer

PROGRESS_LOGGER = "evergreen.progress"
_EVERY_S, _SLOW_S = 60.0, 3.0
# Which logger of a client says that it tries again, in which words, and of which server
# (Prefect 3.8.8, urllib3 2 for MLflow).
_CLIENTS = {
    "prefect.client": ("Encountered retryable exception", "Prefect"),
    "urllib3.connectionpool": ("Retrying (", "MLflow"),
}


class _Retries(logging.Handler):
    """Hears that a client tries again."""

    def __init__(self, words: str, server: str) -> None:
        super().__init__(logging.DEBUG)
        self._words, self._server = words, server
        self._logged_at = -_EVERY_S

    def emit(self, record: logging.LogRecord) -> None:
        """Log it."""
        now = time.monotonic()
        if str(record.msg).startswith(self._words) and now - self._logged_at >= _EVERY_S:
            self._logged_at = now
            logging.getLogger(PROGRESS_LOGGER).info("waiting   %s does not answer", self._server)


@contextmanager
def waiting_is_logged() -> Generator[None]:
    """Log it for as long as the context lasts."""
    handlers: list[tuple[logging.Logger, logging.Handler]] = []
    for name, (words, server) in _CLIENTS.items():
        logger = logging.getLogger(name)
        logger.setLevel(logging.DEBUG if name == "prefect.client" else logging.WARNING)
        handlers.append((logger, _Retries(words, server)))
        logger.addHandler(handlers[-1][1])
    try:
        yield
    finally:
        for logger, handler in handlers:
            logger.removeHandler(handler)


@contextmanager
def slow_start_is_logged(server: str) -> Generator[None]:
    """Log that a server is waited for if it takes some seconds."""

    def log() -> None:
        logging.getLogger(PROGRESS_LOGGER).info("waiting   for %s", server)

    timer = Timer(_SLOW_S, log)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
