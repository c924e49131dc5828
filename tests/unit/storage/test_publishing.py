"""Folders that are published whole, and believed only with their manifest."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pipeline_lib.errors import StorageError
from pipeline_lib.home import find_home
from pipeline_lib.storage.json_files import append_json_line
from pipeline_lib.storage.publishing import MANIFEST, believed, publish


def _publish_text(folder: Path, text: str) -> None:
    with publish(folder, {"kind": "test"}) as scratch:
        (scratch / "a.txt").write_text(text)
        (scratch / "below").mkdir()
        (scratch / "below" / "b.txt").write_text("b")


def _publish_half(folder: Path, error: BaseException) -> None:
    with publish(folder, {}) as scratch:
        (scratch / "a.txt").write_text("new")
        raise error


def test_a_published_folder_says_size_and_sha256_of_every_file(tmp_path: Path) -> None:
    _publish_text(tmp_path / "out", "hello")

    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())

    sha256 = hashlib.sha256(b"hello").hexdigest()
    assert manifest["kind"] == "test"
    assert manifest["files"]["a.txt"] == {"size_bytes": 5, "sha256": sha256}
    assert set(manifest["files"]) == {"a.txt", "below/b.txt"}
    assert believed(tmp_path / "out") == manifest


def test_an_exception_leaves_the_old_folder_as_it_was_and_nothing_of_the_attempt(
    tmp_path: Path,
) -> None:
    _publish_text(tmp_path / "out", "old")

    with pytest.raises(KeyError):
        _publish_half(tmp_path / "out", KeyError())

    assert (tmp_path / "out" / "a.txt").read_text() == "old"
    assert believed(tmp_path / "out") is not None
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_exception_before_anything_was_published_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _publish_half(tmp_path / "out", KeyboardInterrupt())

    assert list(tmp_path.iterdir()) == []


def test_publishing_again_replaces_every_file_of_the_old_folder(tmp_path: Path) -> None:
    _publish_text(tmp_path / "out", "old")

    with publish(tmp_path / "out", {}) as scratch:
        (scratch / "c.txt").write_text("c")

    assert {path.name for path in (tmp_path / "out").iterdir()} == {"c.txt", MANIFEST}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("rename", [1, 2, 3], ids=lambda n: f"at-rename-{n}")
def test_a_kill_while_publishing_leaves_the_old_folder_or_the_new_one(
    tmp_path: Path, rename: int
) -> None:
    _publish_text(tmp_path / "out", "old")
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from pipeline_lib.storage.publishing import publish

        left = int(sys.argv[2])

        def kill_at_rename(event, arguments):
            global left
            if event == "os.rename":
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(kill_at_rename)
        with publish(Path(sys.argv[1]), {}) as scratch:
            (scratch / "a.txt").write_text("new")
        """
    )

    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "out"), str(rename)], check=False
    )

    assert done.returncode in (0, -signal.SIGKILL)
    assert believed(tmp_path / "out") is not None
    assert (tmp_path / "out" / "a.txt").read_text() in {"old", "new"}


@pytest.mark.parametrize(
    "damage", ["shorter", "other byte", "gone", "no manifest", "half a manifest"]
)
def test_a_folder_that_is_not_as_its_manifest_says_is_not_believed(
    tmp_path: Path, damage: str
) -> None:
    out = tmp_path / "out"
    _publish_text(out, "hello")

    match damage:
        case "shorter":
            (out / "a.txt").write_text("hell")
        case "other byte":
            (out / "a.txt").write_text("hellO")
        case "gone":
            (out / "below" / "b.txt").unlink()
        case "no manifest":
            (out / MANIFEST).unlink()
        case _:
            text = (out / MANIFEST).read_text()
            (out / MANIFEST).write_text(text[: len(text) // 2])

    assert believed(out) is None


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "3", "{}", '{"files": null}', '{"files": []}', '{"files": {"a": 1}}']
)
def test_json_that_is_no_manifest_is_not_believed(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)

    assert believed(tmp_path) is None


def test_a_manifest_of_bytes_that_are_no_text_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes(b"\xff\xfe\x00")

    assert believed(tmp_path) is None


def test_what_cannot_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    folder, lines = tmp_path / "out", tmp_path / "journal.jsonl"
    _publish_text(folder, "hello")
    append_json_line(lines, {"n": 1})
    (folder / "a.txt").chmod(0o600)
    (folder / "manifest.json").chmod(0o644)
    lines.chmod(0o600)
    for place in (folder, *tmp_path.parents, tmp_path):
        place.chmod(place.stat().st_mode | 0o055)
    script = (
        "import os, sys; from pathlib import Path\n"
        "from pipeline_lib.errors import StorageError\n"
        "from pipeline_lib.storage.json_files import read_json_lines\n"
        "from pipeline_lib.storage.publishing import believed\n"
        "os.setuid(65534)\n"
        "for read, path in ((believed, sys.argv[1]), (read_json_lines, sys.argv[2])):\n"
        "    try: print(read(Path(path)))\n"
        "    except StorageError as error: print(error)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, folder, lines],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )

    said = done.stdout.splitlines()
    assert said[0].startswith(f"cannot use {folder / 'a.txt'}: Permission denied; it belongs to ")
    assert said[1].startswith(f"cannot use {lines}: Permission denied; it belongs to ")
    assert "damaged" not in done.stdout


def test_publishing_below_a_home_that_is_a_file_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / "file"))

    with pytest.raises(StorageError, match="EVERGREEN_HOME"):
        _publish_text(find_home().dataset("toy").folder / "x", "hello")
