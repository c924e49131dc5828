"""Whether MLFLOW_TRACKING_URI can be used, asked before MLflow is: it would retry for minutes."""

import os
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from pipeline_lib.addresses import ServerAddress, shown_address
from pipeline_lib.config.database_url import STRAY_AT, has_stray_at
from pipeline_lib.errors import ServerError, UsageError
from pipeline_lib.transient import hiding
from pipeline_lib.wording import first_line

_CONNECT_TIMEOUT_S = 10
_NAME, _PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
# What was set for one address is taken back when this process goes on to another.
_lent: dict[str, str] = {}
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_INSTEAD = (
    "Correct MLFLOW_TRACKING_URI, as in http://127.0.0.1:5000, or unset it to use the database "
    "under the home"
)


def check_address(uri: str) -> None:
    """Refuse an address that no MLflow can answer at.

    Args:
        uri: of a server or a database; others are left to MLflow.

    Raises:
        UsageError: it is malformed, or its driver is not installed.
        ServerError: no database answers there.
    """
    scheme = uri.partition("://")[0].partition("+")[0]
    if scheme in ("http", "https"):
        try:
            ServerAddress.of(uri)
        except ValueError:
            shown = shown_address(uri)[:200]
            raise UsageError(
                f"{shown!r} is not the address of an MLflow server. {_INSTEAD}"
            ) from None
    elif scheme in _DATABASES:
        _ask_database(uri, scheme)


def lend_credentials(uri: str) -> None:
    """Move user and password of a server's address to where MLflow expects them.

    In the address they would stand in MLflow's messages and in links. What an earlier address of
    this process had is not sent to another one.
    """
    if not uri.startswith(("http://", "https://")):
        return
    address = ServerAddress.of(uri)
    name, colon, password = address.credentials.partition(":")
    if colon:
        _lent.clear()
        _lent[address.url] = address.credentials
        os.environ.update({_NAME: name, _PASSWORD: password, "MLFLOW_TRACKING_URI": address.url})
    elif _lent and address.url not in _lent and _credentials() in _lent.values():
        for variable in (_NAME, _PASSWORD):
            del os.environ[variable]


def credentials_header(address: ServerAddress) -> dict[str, str]:
    """Return the header that MLflow's client would send there, or none."""
    return ServerAddress(address.url, address.credentials or _credentials()).headers()


def _credentials() -> str:
    name, password = os.environ.get(_NAME, ""), os.environ.get(_PASSWORD, "")
    return f"{name}:{password}" if name and password else ""


def relative_place(uri: str) -> Path | None:
    """Return where a relative address leads: it is read from the working directory.

    >>> relative_place("sqlite:////srv/mlflow.db") is relative_place("http://127.0.0.1:5000")
    True
    """
    scheme, has_scheme, rest = uri.partition(":")
    if scheme.partition("+")[0] == "sqlite":
        place = rest.removeprefix("///").partition("?")[0]
    elif not has_scheme:
        place = uri
    else:
        return None
    return None if place in ("", ":memory:") or Path(place).is_absolute() else Path.cwd() / place


def _ask_database(uri: str, scheme: str) -> None:
    try:
        url = make_url(uri)
    except (SQLAlchemyError, ValueError):
        raise UsageError(f"the {scheme} address in MLFLOW_TRACKING_URI has errors") from None
    shown, arguments = shown_address(uri), {}
    if has_stray_at(url):
        raise UsageError(f"the address {shown} in MLFLOW_TRACKING_URI {STRAY_AT}")
    if scheme == "sqlite":
        place = Path(url.database or "")
        if not url.database or not place.exists():
            return  # MLflow makes it
        if place.is_dir():
            raise UsageError(f"{shown} is a folder, not a database. {_INSTEAD}")
    elif scheme == "postgresql":
        arguments = {"connect_timeout": _CONNECT_TIMEOUT_S}
    try:
        engine = create_engine(url, connect_args=arguments)
        with engine.connect() as connection:
            connection.exec_driver_sql(
                "PRAGMA schema_version" if scheme == "sqlite" else "SELECT 1"
            )
        engine.dispose()
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{shown} needs the driver {error.name}, which is not installed. For PostgreSQL write "
            "postgresql+psycopg://… and install 'evergreen-tables[postgres]'"
        ) from None
    except SQLAlchemyError as error:
        reason = first_line(getattr(error, "orig", None) or error)
        if "locked" in reason:  # another process writes; MLflow waits for it
            return
        failed = ServerError(f"no database can be used at {shown}: {reason}. {_INSTEAD}")
        raise hiding(failed, error) from None
