"""Databases whose making is cut short, by a kill, a full disk or a second start: never for good."""

import contextlib
import logging
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow.store.db.utils import _get_alembic_config, create_sqlalchemy_engine
from mlflow.store.tracking.dbmodels.initial_models import Base as InitialBase
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, temporary_settings

from evergreen.commands.check import check
from evergreen.commands.codes import codes
from evergreen.commands.compare import compare
from evergreen.prefect_database import make_prefect_database
from pipeline_lib.databases import Schema, make_whole, tables_of
from pipeline_lib.errors import StorageError, UsageError
from pipeline_lib.home import find_home
from pipeline_lib.tracking.store import connect, experiment_id

PROJECT = Path(__file__).resolve().parents[2]
N_TABLES = 12

# Ends itself at a given statement of SQLite, as `kill -9` or SIGTERM at that moment would.
ENDED_AT = """
import os, signal, sqlite3, sys
left, number = int(sys.argv[1]), int(sys.argv[2])
class Cut(sqlite3.Connection):
    def cursor(self, factory=None):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), number)
        return super().cursor() if factory is None else super().cursor(factory)
real = sqlite3.dbapi2.connect
def connect(*args, **more):
    more.setdefault("factory", Cut)
    return real(*args, **more)
sqlite3.connect = sqlite3.dbapi2.connect = connect
"""
HANDLED = "from evergreen.interruption import raise_when_terminated\nraise_when_terminated()\n"
CONNECT = (
    "from pipeline_lib.home import find_home\n"
    "from pipeline_lib.tracking.store import connect\nconnect(find_home())\n"
)
OF_PREFECT = """
from evergreen.environment import prepare_prefect
from pipeline_lib.home import find_home
home = find_home()
prepare_prefect(home)
from evergreen.prefect_database import make_prefect_database
make_prefect_database(home)
"""


def run_script(script: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    named = ("MLFLOW_", "PREFECT_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(named)}
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=PROJECT,
        env={**kept, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said_by(process: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        out, err = process.communicate(timeout=900)
    finally:
        process.kill()
    return process.returncode, out + err


def tables_in(file: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(file)) as database:
        return tables_of(database)


def judge(connection: sqlite3.Connection) -> Schema:
    return Schema.WHOLE if len(tables_of(connection)) == N_TABLES else Schema.HALF_MADE


def fill(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as database:
        for number in range(N_TABLES):
            database.execute(f"CREATE TABLE t{number} (n INTEGER)")


@pytest.fixture
def home() -> Path:
    return find_home().writable(find_home().root)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A function that mounts a file system of a size, or gives the same one another size."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(size: str) -> Path:
        options = f"size={size}{',remount' if os.path.ismount(place) else ''}"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("mounting a tmpfs needs CAP_SYS_ADMIN")
        return place

    yield mount
    subprocess.run(["umount", "--lazy", place], check=False)  # MLflow keeps its files open


KILL_WHILE_FILLING = """
import os, signal, sys
sys.path.insert(0, "")
from pathlib import Path
from tests.faults import test_databases as t
from pipeline_lib.databases import make_whole
from pipeline_lib.home import find_home

def cut(file):
    left = int(sys.argv[2])
    import sqlite3
    database = sqlite3.connect(file, isolation_level=None)
    for number in range(left):
        database.execute(f"CREATE TABLE t{number} (n INTEGER)")
    os.kill(os.getpid(), signal.SIGKILL)

make_whole(Path(sys.argv[1]), judge=t.judge, fill=cut, home=find_home())
"""


def test_a_kill_while_a_schema_is_made_leaves_no_database_and_the_next_start_makes_it(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    for n_steps in (0, 5, N_TABLES):
        process = run_script(KILL_WHILE_FILLING, home / "x.db", n_steps)
        assert said_by(process)[0] == -signal.SIGKILL
        assert not (home / "x.db").exists()

    made = make_whole(home / "x.db", judge=judge, fill=fill, home=find_home())

    assert made
    assert len(tables_in(home / "x.db")) == N_TABLES
    assert sorted(path.name for path in home.iterdir()) == [".home.lock", "x.db"]
    assert not make_whole(home / "x.db", judge=judge, fill=fill, home=find_home())
    assert caplog.records == []


@pytest.mark.parametrize("content", ["no byte", "a header", "some tables"])
def test_a_half_made_database_is_set_aside_and_made_again_and_that_is_said(
    home: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    database = home / "x.db"
    if content == "no byte":
        database.touch()
    else:
        with contextlib.closing(sqlite3.connect(database)) as half:
            half.execute("PRAGMA user_version = 1")
            if content == "some tables":
                half.execute("CREATE TABLE t0 (n INTEGER)")
            half.commit()
    before = database.read_bytes()

    make_whole(database, judge=judge, fill=fill, home=find_home())

    assert len(tables_in(database)) == N_TABLES
    aside = [path for path in home.iterdir() if path.name.startswith("x.db.aside-")]
    assert [path.read_bytes() for path in aside] == [before]
    told = [record.getMessage() for record in caplog.records if "half-made" in record.getMessage()]
    assert len(told) == 1
    assert str(database) in told[0]
    assert aside[0].name in told[0]


def test_the_log_of_a_database_that_is_gone_is_not_played_into_the_new_one(home: Path) -> None:
    with contextlib.closing(sqlite3.connect(home / "old.db", isolation_level=None)) as old:
        old.execute("PRAGMA journal_mode = WAL")
        old.execute("CREATE TABLE stale (n INTEGER)")
        (home / "x.db-wal").write_bytes((home / "old.db-wal").read_bytes())

    make_whole(home / "x.db", judge=judge, fill=fill, home=find_home())

    assert "stale" not in tables_in(home / "x.db")
    assert len(tables_in(home / "x.db")) == N_TABLES


def test_a_half_made_database_that_another_process_is_making_is_left_to_it(home: Path) -> None:
    database = home / "x.db"
    slowly = (
        "import sqlite3, sys, time\n"
        "database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        f"for n in range({N_TABLES}):\n"
        "    database.execute(f'CREATE TABLE t{n} (n INTEGER)')\n"
        "    print(n, flush=True)\n"
        "    time.sleep(0.2)\n"
    )
    process = run_script(slowly, database)
    assert process.stdout is not None
    process.stdout.readline()

    made = make_whole(database, judge=judge, fill=fill, home=find_home())

    assert not made
    assert said_by(process)[0] == 0
    assert len(tables_in(database)) == N_TABLES
    assert [path.name for path in home.iterdir() if "aside" in path.name] == []


def test_a_database_of_an_earlier_release_is_brought_up_to_date_in_a_copy(home: Path) -> None:
    database = home / "x.db"
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as old:
        old.execute("PRAGMA journal_mode = WAL")
        old.execute("CREATE TABLE t0 (n INTEGER)")
        old.execute("INSERT INTO t0 VALUES (7)")

    def is_older(connection: sqlite3.Connection) -> Schema:
        return Schema.WHOLE if len(tables_of(connection)) == N_TABLES else Schema.OLDER

    def cut(file: Path) -> None:
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as copy:
            copy.execute("CREATE TABLE t1 (n INTEGER)")
        raise KeyboardInterrupt

    def upgrade(file: Path) -> None:
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as copy:
            for number in range(1, N_TABLES):
                copy.execute(f"CREATE TABLE t{number} (n INTEGER)")

    with pytest.raises(KeyboardInterrupt):
        make_whole(database, judge=is_older, fill=cut, home=find_home())
    assert tables_in(database) == {"t0"}
    make_whole(database, judge=is_older, fill=upgrade, home=find_home())

    with contextlib.closing(sqlite3.connect(database)) as found:
        assert found.execute("SELECT n FROM t0").fetchall() == [(7,)]
        assert len(tables_of(found)) == N_TABLES
    assert [path.name for path in home.glob("*.db*")] == ["x.db"]


def test_a_damaged_database_is_told_and_stays_where_it_is(home: Path) -> None:
    (home / "x.db").write_bytes(b"no database at all" * 500)

    with pytest.raises(StorageError, match=r"x\.db cannot be read: file is not a database"):
        make_whole(home / "x.db", judge=judge, fill=fill, home=find_home())

    assert (home / "x.db").read_bytes() == b"no database at all" * 500


def test_a_full_disk_is_named_and_room_that_comes_back_is_used(
    small_disk: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = small_disk("300k")
    monkeypatch.setenv("EVERGREEN_HOME", str(disk / "home"))

    with pytest.raises(StorageError) as refused:
        connect(find_home())

    assert "is full" in str(refused.value)
    assert f"{disk / 'home' / 'mlflow.db'}" in str(refused.value)
    assert sorted(path.name for path in (disk / "home").iterdir()) == [".home.lock"]
    small_disk("20m")
    assert experiment_id(connect(find_home()), "shop")


@pytest.mark.parametrize("steps", ["the first tables", "a third"])
def test_a_half_made_mlflow_database_is_made_again(
    home: Path, caplog: pytest.LogCaptureFixture, steps: str
) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    uri = f"sqlite:///{home}/mlflow.db"
    engine = create_sqlalchemy_engine(uri)
    InitialBase.metadata.create_all(engine)
    if steps == "a third":
        from alembic import command

        config = _get_alembic_config(uri)
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "0c779009ac13")
        with engine.begin() as connection:  # a step is made, and the kill comes before its note
            connection.exec_driver_sql("DELETE FROM alembic_version")
    engine.dispose()

    client = connect(find_home())

    assert experiment_id(client, "shop")
    assert len(list(home.glob("mlflow.db.aside-*"))) == 1
    told = [record.getMessage() for record in caplog.records if "half-made" in record.getMessage()]
    assert len(told) == 1


def test_commands_that_only_look_make_no_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / "home"))

    assert check(PROJECT / "configs" / "car_evaluation.yaml") == 0
    with pytest.raises(UsageError, match="no runs of 'car_evaluation' are recorded"):
        compare("car_evaluation")
    with pytest.raises(UsageError, match="has no codes yet"):
        codes("car_evaluation")

    assert list(tmp_path.iterdir()) == []


def test_commands_that_only_look_make_no_store_in_a_home_without_one(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="no runs of 'car_evaluation' are recorded"):
        compare("car_evaluation")
    elsewhere = tmp_path / "elsewhere" / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere}")
    with pytest.raises(UsageError, match="no runs of 'car_evaluation' are recorded"):
        compare("car_evaluation")

    assert list(home.iterdir()) == []
    assert not elsewhere.parent.exists()


def test_a_database_of_another_release_of_prefect_is_told_and_stays_as_it_is(
    home: Path, tmp_path: Path
) -> None:
    database = tmp_path / "prefect.db"
    with contextlib.closing(sqlite3.connect(database)) as newer:
        newer.execute("CREATE TABLE alembic_version (version_num TEXT)")
        newer.execute("INSERT INTO alembic_version VALUES ('ffffffffffff')")
        newer.commit()
    before = database.read_bytes()
    place = {PREFECT_API_DATABASE_CONNECTION_URL: f"sqlite+aiosqlite:///{database}"}

    with temporary_settings(place), pytest.raises(StorageError, match="another release") as told:
        make_prefect_database(find_home())

    assert str(database) in str(told.value)
    assert database.read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("with_server", [False, True])
def test_the_doctor_makes_no_home(tmp_path: Path, with_server: bool) -> None:
    script = "import sys\nfrom evergreen.__main__ import main\nsys.argv[1:] = ['doctor']\nmain()"
    named = {"PREFECT_API_URL": "http://127.0.0.1:9/api"} if with_server else {}

    code, said = said_by(run_script(script, EVERGREEN_HOME=str(tmp_path / "home"), **named))

    assert code == (1 if with_server else 0), said
    assert "is made by the first run" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda n: n.name)
def test_a_first_start_that_is_ended_at_any_statement_costs_only_time(
    evergreen_home_of_the_test: Path, number: signal.Signals
) -> None:
    for statement in (1, 25, 150, 400):
        code, said = said_by(run_script(ENDED_AT + HANDLED + CONNECT, statement, int(number)))
        assert code != 0, said
        database = evergreen_home_of_the_test / "mlflow.db"
        assert not database.exists() or "logged_models" in tables_in(database)

    code, said = said_by(run_script(CONNECT))

    assert (code, "aside" in said) == (0, False), said
    left = {path.name for path in evergreen_home_of_the_test.iterdir()}
    assert left == {".home.lock", "mlflow.db", "home.json"}


@pytest.mark.slow
def test_prefects_database_is_made_whole_after_a_kill_a_full_disk_and_a_half_made_one(
    small_disk: Callable[[str], Path],
) -> None:
    home = small_disk("2m") / "home"
    database = home / "prefect" / "prefect.db"

    code, said = said_by(run_script(OF_PREFECT, EVERGREEN_HOME=str(home)))
    assert code != 0
    assert f"cannot make the database {database}: database or disk is full" in said
    assert list(database.parent.glob("*.db*")) == []

    small_disk("60m")
    for statement, number in ((40, signal.SIGKILL), (500, signal.SIGKILL), (90, signal.SIGTERM)):
        cut = ENDED_AT + HANDLED + OF_PREFECT
        code, said = said_by(run_script(cut, statement, int(number), EVERGREEN_HOME=str(home)))
        assert code != 0, said
        assert not database.exists()
        is_tidied = number is signal.SIGTERM
        assert not (is_tidied and list(database.parent.glob(".prefect.db*")))
    with contextlib.closing(sqlite3.connect(database)) as half:
        half.execute("CREATE TABLE flow (id INTEGER)")

    code, said = said_by(run_script(OF_PREFECT, EVERGREEN_HOME=str(home)))

    assert code == 0, said
    assert "half-made" in said
    assert {"flow_run", "alembic_version"} <= tables_in(database)
    again = OF_PREFECT.replace("make_prefect_database(home)", "", 1) + "print('same')"
    assert said_by(run_script(again, EVERGREEN_HOME=str(home))) == (0, "same\n")


@pytest.mark.slow
def test_two_datasets_started_at_once_in_a_fresh_home_both_end_well(tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").touch()
    text = (PROJECT / "configs" / "car_evaluation.yaml").read_text()
    commands: list[subprocess.Popen[str]] = []
    for name in ("one", "two"):
        config = tmp_path / f"{name}.yaml"
        config.write_text(text.replace("name: car_evaluation", f"name: {name}"))
        argv = ["run", str(config), "--set", "training.epochs=2", "--promote"]
        argv += ["--set", "model.d_hidden=[8]", "--set", "promotion.floor=0.3"]
        script = f"import sys\nfrom evergreen.__main__ import main\nsys.argv[1:] = {argv}\nmain()"
        commands.append(run_script(script, EVERGREEN_HOME=str(tmp_path / "home")))

    ended = [said_by(command) for command in commands]

    for code, said in ended:
        assert code == 0, said
        assert "promoted (version 1)" in said
        assert "aside" not in said
