"""Which errors may be gone at the next attempt: those of a network or of a busy server.

A wrong path, password or table, a full disk and rows that break their contract stay as they are,
and so does a server that was waited for until a deadline of ours. What an error wraps decides
where the error itself does not: libraries share no base class, so theirs are known by the name of
the class and of the package, and none is imported.
"""

import errno
import http.client
import re
import socket
import sqlite3
import ssl
from collections.abc import Iterator, Mapping
from typing import TypeVar, cast

from pipeline_lib.errors import (
    EvergreenError,
    ModelError,
    ServerError,
    SourceError,
    SourceNotFoundError,
    StorageError,
)

Own = TypeVar("Own", bound=EvergreenError)

_NETWORK = {
    *(errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT),
    *(errno.ENETDOWN, errno.ENETRESET, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH),
    *(errno.ENOTCONN, errno.ESHUTDOWN, errno.ESTALE),
}
_LOCAL = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT),
    *(errno.EMFILE, errno.ENFILE, errno.ENAMETOOLONG, errno.ELOOP),
}
_GONE = FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError
# Too early, a request that took too long to arrive, too many requests.
_PASSING_STATUS = {408, 425, 429}
_NEVER_STATUS = {501, 505}
_THROTTLED = re.compile(
    "SlowDown|Throttl|TooManyRequests|RequestLimitExceeded|RequestTimeout|ServiceUnavailable|"
    "InternalError|Busy"
)
# The clients of MLflow, Prefect and PostgreSQL wait as long as we let them, and no longer.
_HTTP_DEADLINES = {
    *("ConnectTimeout", "ConnectTimeoutError", "PoolTimeout", "ReadTimeout"),
    *("ReadTimeoutError", "Timeout", "TimeoutException", "WriteTimeout"),
}
_OUR_DEADLINES = {
    "httpcore": _HTTP_DEADLINES,
    "httpx": _HTTP_DEADLINES,
    "psycopg": {"ConnectionTimeout"},
    "requests": _HTTP_DEADLINES,
    "urllib3": _HTTP_DEADLINES,
}
# Errors of a connection that say all by their class.
_LOST = {
    "aiohttp": {"ClientConnectionError", "ClientPayloadError"},
    "botocore": {
        *("ConnectionError", "HTTPClientError", "IncompleteReadError", "ResponseStreamingError"),
    },
    "httpcore": {"NetworkError", "ProtocolError"},
    "httpx": {"NetworkError", "ProtocolError", "ProxyError"},
    "requests": {"ChunkedEncodingError"},
    "urllib3": {"NameResolutionError", "NewConnectionError", "ProtocolError", "ResponseError"},
}
_SQLITE_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_LOW_BYTE = 0xFF
# Connection lost, server starting or stopping, too many connections, deadlock, lock not free.
_SQLSTATE = re.compile("08...|57P0[1-3]|53300|40001|40P01|55P03")
_MYSQL = {1040, 1205, 1213, 2002, 2003, 2006, 2013, 2055}
_DATABASE_ERRORS = {"DatabaseError", "InterfaceError", "OperationalError"}
_LASTING_WORDS = re.compile(
    "authentication failed|access denied|does not exist|no pg_hba.conf entry|permission denied|"
    "disk is full|no space left|disk i/o error|readonly database|timeout expired|no such table",
    re.IGNORECASE,
)
_PASSING_WORDS = re.compile(
    "connection refused|connection reset|connection timed out|server closed the connection|"
    "connection (is|was|already|socket) closed|connection has been closed|closed unexpectedly|"
    "connection .*is lost|lost connection|gone away|broken pipe|network is unreachable|"
    "no route to host|could not translate host name|failed to resolve host|"
    "name or service not known|name resolution|database system is|terminating connection|"
    "too many (clients|connections)|remaining connection slots|(database|table) is locked",
    re.IGNORECASE,
)
_ERROR_CODE = re.compile(r"failed with error code (\d{3})\b")


def is_transient(error: BaseException) -> bool:
    """Return whether the same call may succeed in a while; what an error wraps is looked at.

    >>> is_transient(ConnectionResetError()), is_transient(FileNotFoundError())
    (True, False)
    """
    return _verdict(error, set()) is True


def hiding(error: Own, cause: BaseException) -> Own:
    """Return an error that is raised `from None`, with the verdict on what it hides.

    The texts of some causes hold passwords; a traceback would show them.
    """
    error.transient = is_transient(cause)
    return error


def _verdict(error: BaseException, seen: set[int]) -> bool | None:
    """Return whether an error will pass, or None if neither it nor what it wraps says."""
    if id(error) in seen:
        return None
    seen.add(id(error))
    own = _own_verdict(error)
    if own is not None:
        return own
    verdicts = (_verdict(inner, seen) for inner in _wrapped(error))
    return next((verdict for verdict in verdicts if verdict is not None), None)


def _own_verdict(error: BaseException) -> bool | None:
    if isinstance(error, EvergreenError):
        return _of_ours(error)
    if not isinstance(error, Exception) or isinstance(error, _GONE):
        return False
    if _is_named(error, _OUR_DEADLINES, exactly=True):
        return False
    if (status := _status(error)) is not None:
        return _is_passing(status) and not _LASTING_WORDS.search(str(error))
    if _is_named(error, _LOST) and type(error).__name__ != "SSLError":
        return True
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error)
    if _DATABASE_ERRORS & {cls.__name__ for cls in type(error).__mro__}:
        return _of_database(error)
    return _of_the_system(error)


def _of_ours(error: EvergreenError) -> bool | None:
    """Return the verdict of our own errors: those of a source or server are what they wrap."""
    if error.transient is not None:
        return error.transient
    may_wrap = isinstance(error, SourceError | ServerError | StorageError | ModelError)
    return None if may_wrap and not isinstance(error, SourceNotFoundError) else False


def _of_the_system(error: Exception) -> bool | None:
    match error:
        case ssl.SSLCertVerificationError():
            return False
        case ConnectionError() | TimeoutError() | socket.gaierror() | http.client.HTTPException():
            return True
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return True
        case OSError(errno=number) if number in _NETWORK:
            return True
        case OSError(errno=number) if number in _LOCAL:
            return False
        case _:
            return None


def _of_sqlite(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int):
        return code & _LOW_BYTE in _SQLITE_BUSY
    return "is locked" in str(error)


def _of_database(error: Exception) -> bool | None:
    """Return the verdict of a driver's error, or of SQLAlchemy's, which wraps a driver's."""
    if getattr(error, "connection_invalidated", False) is True:
        return True
    if isinstance(getattr(error, "orig", None), BaseException):
        return None
    codes = (getattr(error, name, None) for name in ("sqlstate", "pgcode", "errno"))
    code = next((each for each in (*codes, *error.args[:1]) if each is not None), None)
    if isinstance(code, int):
        return code in _MYSQL
    if isinstance(code, str) and re.fullmatch("[0-9A-Z]{5}", code):
        return _SQLSTATE.fullmatch(code) is not None
    said = str(error)
    if _LASTING_WORDS.search(said):
        return False
    return True if _PASSING_WORDS.search(said) else None


def _status(error: Exception) -> int | None:
    """Return the status of HTTP that an error of any client came with."""
    response: object = getattr(error, "response", None)
    if isinstance(response, Mapping):
        return _status_of_s3(cast("Mapping[str, object]", response))
    if _is_named(error, {"mlflow": {"RestException"}}):
        return int(error.get_http_status_code())  # pyright: ignore[reportAttributeAccessIssue]
    if _is_named(error, {"mlflow": {"MlflowException"}}):
        # Of all others it says 500: theirs is what they wrap.
        found = _ERROR_CODE.search(str(error))
        return int(found[1]) if found else None
    for holder in (error, response):
        for name in ("status_code", "status", "code"):
            value: object = getattr(holder, name, None)
            if isinstance(value, int) and 100 <= value < 600:
                return value
    return None


def _status_of_s3(response: Mapping[str, object]) -> int | None:
    """Return the status of an answer of botocore; 503 where it is the error's name that says so."""
    error, facts = response.get("Error"), response.get("ResponseMetadata")
    if isinstance(error, Mapping):
        code = str(cast("Mapping[str, object]", error).get("Code", ""))
        if _THROTTLED.search(code):
            return 503
        if code.isdecimal():
            return int(code)
    if not isinstance(facts, Mapping):
        return None
    status = cast("Mapping[str, object]", facts).get("HTTPStatusCode")
    return status if isinstance(status, int) else None


def _is_passing(status: int) -> bool:
    return status in _PASSING_STATUS or (status >= 500 and status not in _NEVER_STATUS)


def _is_named(
    error: BaseException, names: Mapping[str, set[str]], *, exactly: bool = False
) -> bool:
    """Return whether an error's class, or one it derives from, is one of a package's names."""
    classes = type(error).__mro__[:1] if exactly else type(error).__mro__
    return any(cls.__name__ in names.get(cls.__module__.partition(".")[0], ()) for cls in classes)


def _wrapped(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors that one holds, the nearest first."""
    if isinstance(error, BaseExceptionGroup):
        yield from cast("BaseExceptionGroup[BaseException]", error).exceptions
    inner = (getattr(error, "orig", None), getattr(error, "reason", None), *error.args)
    yield from (each for each in inner if isinstance(each, BaseException))
    if error.__cause__ is not None:
        yield error.__cause__
    elif error.__context__ is not None and not error.__suppress_context__:
        yield error.__context__
