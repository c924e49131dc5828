"""Which MLflow is used: the server that MLFLOW_TRACKING_URI names, else the embedded database."""

import errno
import functools
import http.client
import logging
import os
import urllib.error
import urllib.request
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException, RestException
from mlflow.tracking._tracking_service import utils
from sqlalchemy.exc import SQLAlchemyError

from pipeline_lib.addresses import ServerAddress, link, shown_address
from pipeline_lib.asking import ask
from pipeline_lib.errors import ServerError
from pipeline_lib.home import Home
from pipeline_lib.interruption import raise_if_heard
from pipeline_lib.tracking.address import (
    check_address,
    credentials_header,
    lend_credentials,
    relative_place,
)
from pipeline_lib.tracking.client import StoreClient
from pipeline_lib.tracking.embedded import has_store, make_store
from pipeline_lib.tracking.relocation import follow_home
from pipeline_lib.transient import hiding
from pipeline_lib.wording import first_line, no_room

# The default of `mlflow server`.
DEFAULT_UI_URL = "http://127.0.0.1:5000"
_PROBE_TIMEOUT_S = 10
_ADDRESS = "MLFLOW_TRACKING_URI"
_MAX_SAID = 300
_logger = logging.getLogger(__name__)


def tracking_uri(home: Home) -> str:
    """Return MLFLOW_TRACKING_URI, else the database under the home (never the current folder)."""
    return _chosen_uri() or _embedded_uri(home)


def _chosen_uri() -> str:
    return os.environ.get(_ADDRESS, "").strip()


def _embedded_uri(home: Home) -> str:
    return f"sqlite:///{home.mlflow_db}"


def uses_server() -> bool:
    """Return whether MLFLOW_TRACKING_URI names a server."""
    return _chosen_uri().startswith("http")


def ui_url() -> str:
    """Return where MLflow's pages are, or would be with `mlflow server` on its own port."""
    return link(_chosen_uri()).rstrip("/") if uses_server() else DEFAULT_UI_URL


def connect(home: Home) -> StoreClient:
    """Return a client of the store that a home uses; the embedded one is created on first use.

    What the embedded one knows of a home that has moved is brought to where the home is now.

    Raises:
        ServerError: the server named by MLFLOW_TRACKING_URI does not answer, or the database
            belongs to another version of MLflow.
        StorageError: the home cannot be written, or the database is damaged.
    """
    raise_if_heard()
    os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # MLflow's own 7 retries of 2 minutes block a run for a quarter of an hour at each call.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    for noisy in ("alembic", "mlflow.store.model_registry"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It prints the traceback of what it raises.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    check_address(tracking_uri(home))
    lend_credentials(tracking_uri(home))  # which are no part of the address from here on
    uri = tracking_uri(home)
    if (place := relative_place(uri)) is not None:
        _warn_of_relative(uri, place)
    if uri.startswith("http"):
        _probe(uri)
    else:
        home.writable(home.root)
        make_store(uri, home)
    # Behind a server, too: it may be one of this very database.
    has_moved = follow_home(home)
    _use(uri, is_another_place=has_moved)
    try:
        client = StoreClient(uri, home)
        client.search_experiments(max_results=1)  # opens the store; the first time it creates it
    except (MlflowException, SQLAlchemyError) as error:
        said = f"{_said(error)[:_MAX_SAID]}{_room(home, uri=uri, said=_said(error))}"
        raise ServerError(f"MLflow at {shown_address(uri)} refuses: {said}") from error
    return client


def is_anything_recorded(home: Home) -> bool:
    """Return whether there is a store to read; where there is none, nothing is made to find out."""
    return has_store(tracking_uri(home))


@functools.cache
def _warn_of_relative(uri: str, place: Path) -> None:
    """Log once that another folder would be another registry."""
    _logger.warning(
        "%s=%s is relative: from this working directory it is %s, and from another one another "
        "registry. Write the whole path",
        _ADDRESS,
        shown_address(uri),
        place,
    )


def _use(uri: str, *, is_another_place: bool) -> None:
    """Set MLflow's address for this process.

    MLflow writes it into the environment as well (3.17), where it would look like a person's own
    setting: the next home of this process would meet the registry of the first. It also keeps
    where the artifacts of a run lie, by the run's id, which a copied home has in common.
    """
    if is_another_place or mlflow.get_tracking_uri() != uri:
        utils._artifact_repos_cache.clear()  # pyright: ignore[reportPrivateUsage]
    before = os.environ.get(_ADDRESS)
    mlflow.set_tracking_uri(uri)
    if before is None:
        os.environ.pop(_ADDRESS, None)
    else:
        os.environ[_ADDRESS] = before


def experiment_id(client: StoreClient, name: str) -> str:
    """Return the id of the dataset's experiment, created on first use.

    Embedded artifacts lie under `.evergreen/artifacts/`; a server decides for itself.

    Raises:
        ServerError: an experiment of that name was deleted and not purged.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(
                name, artifact_location=_artifact_location(client.home, name)
            )
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        raise ServerError(
            f"MLflow's experiment {name!r} was deleted; restore it in the UI or with "
            f"`mlflow experiments restore --experiment-id {found.experiment_id}`"
        )
    if not uses_server() and found.artifact_location.startswith("mlflow-"):
        raise ServerError(
            f"the artifacts of {name!r} lie behind an MLflow server. Start it and name it in "
            "MLFLOW_TRACKING_URI; one started as in the README leaves them readable to both"
        )
    return str(found.experiment_id)


def is_embedded(client: StoreClient) -> bool:
    """Return whether a client's store is the database under the home."""
    return client.tracking_uri == _embedded_uri(client.home)


def address_of(client: MlflowClient) -> str:
    """Return the address of a client's store, without its secrets."""
    return shown_address(client.tracking_uri)


def what_failed(client: StoreClient, error: MlflowException) -> str:
    """Describe a failed call; MLflow's own messages repeat an address and its password."""
    place = address_of(client)
    if place.startswith("http") and not isinstance(error, RestException):
        return f"MLflow at {place} does not answer"
    said = _said(error)
    return (
        f"MLflow at {place} refuses: {said}{_room(client.home, uri=client.tracking_uri, said=said)}"
    )


def _room(home: Home, *, uri: str, said: str) -> str:
    """Return how much room the embedded database's disk has, if that is why it refuses."""
    is_full = "disk is full" in said or "No space left" in said or "disk I/O error" in said
    if not is_full or not uri.startswith("sqlite"):
        return ""
    full = no_room(OSError(errno.ENOSPC, said), home.root)
    return f" ({full}; EVERGREEN_HOME names another place)"


def _said(error: BaseException) -> str:
    """Return the database's own error, if there is one; SQLAlchemy's text hides the cause."""
    cause: BaseException | None = error
    while cause is not None:
        said = getattr(cause, "orig", None)
        if isinstance(said, BaseException):
            return first_line(said)
        cause = cause.__cause__ or cause.__context__
    return first_line(error)


def _artifact_location(home: Home, name: str) -> str | None:
    return None if uses_server() else (home.artifacts / name).as_uri()


def _probe(uri: str) -> None:
    """Ask the server for its health once: mlflow's own client would retry for minutes."""
    address = ServerAddress.of(uri)
    asked = urllib.request.Request(f"{address.url.rstrip('/')}/health")  # noqa: S310 - http or https
    for name, value in credentials_header(address).items():
        asked.add_unredirected_header(name, value)
    try:
        ask(asked, within_s=_PROBE_TIMEOUT_S)
    except urllib.error.HTTPError:
        return  # it answers; whether it accepts the credentials, the first call shows
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = first_line(getattr(error, "reason", error))
        failed = hiding(
            ServerError(
                f"no MLflow server answers at {link(uri).partition('://')[2]} ({reason}). Start "
                "it, run the same again, and it goes on from there; or unset MLFLOW_TRACKING_URI "
                "to use the embedded database."
            ),
            error,
        )
        if isinstance(getattr(error, "reason", error), TimeoutError):
            failed.transient = False  # it was waited for
        raise failed from None
