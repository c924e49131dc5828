"""An address in MLFLOW_TRACKING_URI that cannot be used is told at once, without its password."""

from pathlib import Path

import pytest

from pipeline_lib.errors import EvergreenError, ServerError, UsageError
from pipeline_lib.home import find_home
from pipeline_lib.tracking.address import relative_place
from pipeline_lib.tracking.store import connect, tracking_uri


def refusal(uri: str, monkeypatch: pytest.MonkeyPatch) -> EvergreenError:
    """Return what is said of an address, which MLflow alone would ask for minutes."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(EvergreenError) as raised:
        connect(find_home())
    assert len(str(raised.value).splitlines()) == 1
    assert "secret" not in str(raised.value)
    return raised.value


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("http://", "'http://' is not the address of an MLflow server"),
        ("http://[::1", "is not the address of an MLflow server"),
        ("http://127.0.0.1:99999", "is not the address of an MLflow server"),
        ("postgresql://me:secret@host/runs", "needs the driver psycopg2, which is not installed"),
        ("mysql://me:secret@host/runs", "needs the driver MySQLdb"),
        ("sqlite:////tmp", "is a folder, not a database"),
    ],
)
def test_a_malformed_address_is_the_users_mistake(
    uri: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = refusal(uri, monkeypatch)

    assert isinstance(error, UsageError)
    assert said in str(error)


def test_a_file_that_is_no_database_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs.db").write_text("not a database, but long enough to have a header" * 10)

    error = refusal(f"sqlite:///{tmp_path / 'runs.db'}", monkeypatch)

    assert isinstance(error, ServerError)
    assert "file is not a database" in str(error)
    assert "unset it" in str(error)


def test_a_database_that_does_not_answer_is_told_before_mlflow_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("psycopg")

    error = refusal("postgresql+psycopg://me:secret@127.0.0.1:9/runs", monkeypatch)

    assert "no database can be used at postgresql+psycopg://me:***@127.0.0.1:9/runs" in str(error)


def test_blanks_name_no_address(
    evergreen_home_of_the_test: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "  ")

    assert tracking_uri(find_home()) == f"sqlite:///{evergreen_home_of_the_test / 'mlflow.db'}"


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("sqlite:///mlflow.db", "mlflow.db"),
        ("sqlite+pysqlite:///a/b.db?timeout=5", "a/b.db"),
        ("./mlruns", "mlruns"),
        ("sqlite:////srv/mlflow.db", None),
        ("sqlite://", None),
        ("/srv/mlruns", None),
        ("http://127.0.0.1:5000", None),
        ("postgresql+psycopg://ann@127.0.0.1/mlflow", None),
    ],
)
def test_an_address_that_depends_on_the_working_directory_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, place: str | None
) -> None:
    monkeypatch.chdir(tmp_path)

    assert relative_place(uri) == (None if place is None else tmp_path / place)
