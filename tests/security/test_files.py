"""What a home and a saved model look like to another account of the machine."""

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evergreen.commands.new import new
from pipeline_lib import fit
from pipeline_lib.errors import StorageError
from pipeline_lib.home import find_home
from pipeline_lib.permissions import umask_of
from pipeline_lib.storage.folders import writable_folder
from pipeline_lib.storage.json_files import append_json_line, write_json
from pipeline_lib.storage.locks import lock
from pipeline_lib.storage.publishing import publish
from pipeline_lib.storage.replacing import replacing

PROJECT = Path(__file__).resolve().parents[2]
OTHER_GROUP = 61234
UMASKS = [0o000, 0o002, 0o022, 0o027, 0o077, 0o277]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that every account can reach, and whose `home` is the home."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    folder.chmod(0o755)
    monkeypatch.setenv("EVERGREEN_HOME", str(folder / "home"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    os.umask(before)
    yield os.umask
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def home_of_a_release(home: Path, mode_of_home: int) -> Path:
    """Make what a release before left under a loose umask; return a file of rows in it."""
    rows = home / "datasets" / "shop" / "rows.parquet"
    rows.parent.mkdir(parents=True)
    rows.write_text("rows")
    rows.chmod(0o666)
    rows.parent.chmod(0o777)
    (home / "datasets").chmod(0o755)
    (home / "mlflow.db").write_text("runs")
    (home / "mlflow.db").chmod(0o644)
    home.chmod(mode_of_home)
    return rows


@pytest.mark.parametrize("value", UMASKS, ids=oct)
def test_a_home_is_its_owners_alone_whatever_the_umask(
    place: Path, umask: Callable[[int], int], value: int, as_other_user: Callable[..., Any]
) -> None:
    umask(value)

    write_json(find_home().writable(find_home().dataset("shop").folder) / "x.json", {})
    append_json_line(find_home().dataset("shop").folder / "x.jsonl", {})
    with lock(find_home().dataset("shop").folder / ".lock", on_wait=lambda: None):
        pass

    assert mode(place / "home") == 0o700
    assert all(not mode(path) & 0o007 for path in (place / "home").rglob("*"))
    for command in (("ls", place / "home"), ("cat", place / "home/datasets/shop/x.json")):
        assert "Permission denied" in as_other_user(*command).stderr


def test_folders_that_are_made_above_a_home_are_not_for_everybody_to_write(
    place: Path, umask: Callable[[int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREEN_HOME", str(place / "a" / "b" / "home"))
    umask(0)

    find_home().writable(find_home().root)

    assert [mode(place / name) for name in ("a", "a/b", "a/b/home")] == [0o755, 0o755, 0o700]


@pytest.mark.parametrize(("umask_then", "before"), [(0o000, 0o777), (0o002, 0o775), (0o022, 0o755)])
def test_a_home_of_an_earlier_release_is_closed_and_that_is_said_once(
    place: Path,
    umask: Callable[[int], int],
    umask_then: int,
    before: int,
    as_other_user: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    umask(umask_then)
    rows = home_of_a_release(place / "home", before)
    assert as_other_user("cat", rows).stdout == "rows"

    for _ in range(3):
        find_home().writable(find_home().dataset("shop").folder)

    assert mode(place / "home") == 0o700
    assert "Permission denied" in as_other_user("cat", rows).stderr
    assert [mode(path) for path in (rows, rows.parent, rows.parents[1])] == [0o600, 0o700, 0o700]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert str(place / "home") in told[0]
    assert f"({before:o})" in told[0]


@pytest.mark.parametrize(
    ("before", "group", "after"),
    [
        (0o750, None, 0o750),
        (0o770, None, 0o770),
        (0o2770, OTHER_GROUP, 0o2770),
        (0o2775, OTHER_GROUP, 0o2770),
        (0o2755, None, 0o2750),
        (0o755, OTHER_GROUP, 0o2750),  # what is made in it has to be the group's, too
        (0o770, OTHER_GROUP, 0o2770),
    ],
)
def test_a_home_that_its_owner_opened_to_a_group_stays_open_to_it_and_never_to_the_world(
    place: Path,
    umask: Callable[[int], int],
    before: int,
    group: int | None,
    after: int,
    as_other_user: Callable[..., Any],
) -> None:
    umask(0o022)
    home = place / "home"
    rows = home_of_a_release(home, before)
    if group is not None:
        os.chown(home, -1, group)
        home.chmod(before)

    find_home().writable(find_home().dataset("shop").folder)
    umask(umask_of(home))
    new_file = find_home().writable(find_home().dataset("sales").folder) / "x.json"
    write_json(new_file, {})

    assert mode(home) == after
    assert home.stat().st_gid == (os.getegid() if group is None else group)
    reads = after & 0o040
    assert mode(new_file) & 0o040 == reads
    assert not mode(new_file) & 0o007
    if group is not None:
        assert new_file.stat().st_gid == group
        member = _as_member_of(group, "cat", rows, new_file)
        assert member.stdout == "rows{}\n", member.stderr
    assert "Permission denied" in as_other_user("cat", new_file).stderr


def test_sharing_a_home_opens_nothing_that_its_owner_keeps_closed(
    place: Path, umask: Callable[[int], int]
) -> None:
    umask(0o022)
    home_of_a_release(place / "home", 0o770)
    (place / "home" / "compiled").mkdir(mode=0o700)
    os.chown(place / "home", -1, OTHER_GROUP if os.geteuid() == 0 else -1)
    (place / "home").chmod(0o770)

    for _ in range(2):
        find_home().writable(find_home().dataset("shop").folder)

    assert mode(place / "home" / "compiled") & 0o777 == 0o700


def _as_member_of(group: int, *command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)),
        user=65533, group=65533, extra_groups=[group],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_closing_a_home_follows_no_link_and_touches_no_file_of_two_names(
    place: Path, umask: Callable[[int], int]
) -> None:
    umask(0o022)
    home_of_a_release(place / "home", 0o777)
    outside, twice = place / "outside", place / "twice"
    for path in (outside, twice):
        path.write_text("")
        path.chmod(0o644)
    (place / "home" / "link").symlink_to(outside)
    (place / "home" / "up").symlink_to(place)
    os.link(twice, place / "home" / "hard")

    find_home().writable(find_home().root)

    assert (mode(outside), mode(twice), mode(place)) == (0o644, 0o644, 0o755)
    assert mode(place / "home") == 0o700


def test_a_home_that_is_everybodys_is_refused_with_a_better_place(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.chmod(0o1777)
    monkeypatch.setenv("EVERGREEN_HOME", str(place))

    with pytest.raises(StorageError, match=f"as {place}/evergreen"):
        find_home().writable(find_home().root)

    assert mode(place) == 0o1777


def test_a_folder_of_a_project_keeps_its_permissions_and_that_is_said(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (place / "prefect.yaml").touch()
    monkeypatch.setenv("EVERGREEN_HOME", str(place))

    for _ in range(2):
        find_home().writable(find_home().root)

    assert mode(place) == 0o755
    assert [record.getMessage().count(str(place)) for record in caplog.records] == [1]


def test_the_folder_of_a_user_keeps_its_permissions_even_as_home_of_evergreen(
    place: Path, monkeypatch: pytest.MonkeyPatch, umask: Callable[[int], int]
) -> None:
    entry = pwd.getpwuid(os.geteuid())
    of_user = type(entry)((*entry[:5], str(place / "home"), entry[6]))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: of_user)
    umask(0o022)
    home_of_a_release(place / "home", 0o755)

    find_home().writable(find_home().root)

    assert mode(place / "home") == 0o755
    assert umask_of(place / "home") == 0o077


def test_a_home_that_another_account_has_prepared_is_refused(place: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    (place / "home").mkdir()
    (place / "home").chmod(0o777)
    os.chown(place / "home", 65533, -1)
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from pipeline_lib.home import find_home\n"
        "os.setuid(65534)\n"
        "find_home().writable(find_home().root)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, str(PROJECT)], capture_output=True, text=True, check=False
    )

    assert "all users may write there: its files cannot be trusted" in done.stderr


@pytest.mark.parametrize("target", ["a file", "nothing"])
def test_a_lock_that_is_a_link_is_refused_and_what_it_leads_to_is_untouched(
    place: Path, target: str
) -> None:
    victim, file = (
        place / "victim",
        find_home().writable(find_home().dataset("shop").folder) / ".lock",
    )
    if target == "a file":
        victim.write_text("keys")
    file.symlink_to(victim)

    with (
        pytest.raises(StorageError, match=rf"{file} is a link: remove it"),
        lock(file, on_wait=lambda: None),
    ):
        pass

    assert victim.exists() is (target == "a file")
    assert not victim.exists() or victim.read_text() == "keys"


def test_a_lock_cuts_no_file_and_is_no_pipe(place: Path) -> None:
    folder = find_home().writable(find_home().dataset("shop").folder)
    (folder / "text").write_text("kept")
    os.mkfifo(folder / "pipe")

    with lock(folder / "text", on_wait=lambda: None):
        pass

    assert (folder / "text").read_text() == "kept"
    with (
        pytest.raises(StorageError, match="pipe: it is not a regular file"),
        lock(folder / "pipe", on_wait=lambda: None),
    ):
        pass


def test_a_temporary_file_is_there_before_it_is_written_and_has_a_name_that_nobody_can_tell(
    place: Path,
) -> None:
    names: set[str] = set()
    for _ in range(2):
        with replacing(writable_folder(place / "out") / "x") as scratch:
            assert scratch.is_file()
            assert not scratch.is_symlink()
            names.add(scratch.name)

    first, second = sorted(names)
    assert first != second
    assert len(first) >= len(".x.") + 16


def test_a_new_config_is_not_written_through_a_link_that_waits_for_the_number_of_the_process(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    rows = "\n".join(f"{i % 7},{'ab'[i % 2]}" for i in range(60))
    (place / "shop.csv").write_text(f"size,label\n{rows}\n")
    victim = place / "victim"
    victim.write_text("keys")
    (place / "configs").mkdir()
    (place / "configs" / f".shop.{os.getpid()}.yaml").symlink_to(victim)

    new(str(place / "shop.csv"), target="label", out=place / "configs" / "shop.yaml")

    assert victim.read_text() == "keys"
    assert "label" in (place / "configs" / "shop.yaml").read_text()


@pytest.mark.parametrize("value", [0o000, 0o022], ids=oct)
def test_a_saved_model_is_its_owners_alone_and_stays_open_to_a_group_that_it_was_opened_to(
    place: Path,
    umask: Callable[[int], int],
    value: int,
    as_other_user: Callable[..., Any],
    table_config: Callable[..., Any],
    toy_table: Callable[..., Any],
) -> None:
    model = fit(table_config(training={"epochs": 1}), toy_table(60))
    umask(value)

    model.save(place / "model")

    assert mode(place / "model") == 0o700
    assert "Permission denied" in as_other_user("ls", place / "model").stderr
    assert all(not mode(path) & 0o077 for path in (place / "model").rglob("*"))
    (place / "model").chmod(0o750)
    model.save(place / "model")
    assert mode(place / "model") == 0o750
    assert all(mode(path) & 0o077 == 0o040 for path in (place / "model").rglob("*"))


def test_what_is_published_into_a_folder_of_a_group_is_the_groups(place: Path) -> None:
    (place / "team").mkdir()
    os.chown(place / "team", -1, OTHER_GROUP if os.geteuid() == 0 else -1)
    (place / "team").chmod(0o2770)

    with publish(place / "team" / "model", {}) as scratch:
        (scratch / "x").write_text("")

    assert mode(place / "team" / "model") == 0o2770
    assert mode(place / "team" / "model" / "x") == 0o660
    assert (place / "team" / "model" / "x").stat().st_gid == (place / "team").stat().st_gid


@pytest.mark.slow
def test_a_night_under_the_loosest_umask_leaves_nothing_that_another_account_can_read_or_write(
    place: Path, as_other_user: Callable[..., Any]
) -> None:
    command = [sys.executable, "-m", "evergreen", "run", "configs/car_evaluation.yaml"]
    for text in ("training.epochs=2", "model.d_hidden=[8]", "promotion.floor=0.3"):
        command += ["--set", text]

    done = subprocess.run(
        [*command, "--promote"], cwd=PROJECT, umask=0, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    home = place / "home"
    assert mode(home) == 0o700
    entries = [path for path in home.rglob("*") if not path.is_symlink()]
    assert len(entries) > 100
    assert [path for path in entries if mode(path) & 0o077] == []
    for path in ("mlflow.db", "prefect/prefect.db", "datasets/car_evaluation"):
        assert (home / path).exists()
        assert "Permission denied" in as_other_user("ls", home / path).stderr
