"""Atomic publishing, manifests, JSON files that are whole or absent."""

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
from pipeline_lib.storage import (
    MANIFEST,
    Json,
    append_json_line,
    believed,
    dataset_folder,
    digest_file,
    digest_json,
    digest_tree,
    evergreen_home,
    in_project,
    lock,
    project_of,
    project_root,
    publish,
    read_json_lines,
    writable_folder,
    write_json,
)


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
        from pipeline_lib.storage import publish

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


def test_a_folder_that_cannot_be_created_names_evergreen_home(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StorageError, match="EVERGREEN_HOME") as raised:
        writable_folder(tmp_path / "file" / "home")

    assert str(tmp_path / "file" / "home") in str(raised.value)


def test_publishing_below_a_home_that_is_a_file_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / "file"))

    with pytest.raises(StorageError, match="EVERGREEN_HOME"):
        _publish_text(dataset_folder("toy") / "x", "hello")


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


def test_a_last_line_cut_by_a_kill_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    append_json_line(path, {"n": 1, "word": "naïve"})
    append_json_line(path, {"n": 2})
    path.write_bytes(path.read_bytes()[:-3])

    lines = read_json_lines(path)

    assert lines == [{"n": 1, "word": "naïve"}]


def test_a_last_line_cut_inside_a_letter_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    append_json_line(path, {"n": 1})
    whole = path.read_bytes()
    path.write_bytes(whole + '{"word": "naï'.encode()[:-1])

    lines = read_json_lines(path)

    assert lines == [{"n": 1}]


def test_a_line_appended_after_one_cut_by_a_kill_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    append_json_line(path, {"n": 1})
    path.write_bytes(path.read_bytes() + b'{"n": 2, "rea')

    append_json_line(path, {"n": 3})

    assert read_json_lines(path) == [{"n": 1}, {"n": 3}]


def test_a_file_of_lines_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert read_json_lines(tmp_path / "none.jsonl") == []


def test_a_value_that_is_no_json_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": [1, "é"]})
    no_json: Json = {"a": "fine", "b": object()}  # type: ignore[dict-item]

    with pytest.raises(TypeError):
        write_json(path, no_json)

    assert json.loads(path.read_text("utf-8")) == {"a": [1, "é"]}


def test_the_digest_of_a_value_is_that_of_its_canonical_json() -> None:
    text = '{"a":[1,null,true],"b":"é"}'

    digest = digest_json({"b": "é", "a": [1, None, True]})

    assert digest == hashlib.sha256(text.encode()).hexdigest()


def test_the_digest_of_a_file_is_the_sha256_that_the_system_computes(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(os.urandom(100_000))

    theirs = subprocess.run(["sha256sum", str(path)], capture_output=True, text=True, check=True)

    assert digest_file(path) == theirs.stdout.split()[0]


def test_the_digest_of_a_tree_changes_with_a_name_and_with_content(tmp_path: Path) -> None:
    def digest(name: str, text: str) -> str:
        folder = tmp_path / f"{name}-{text}"
        folder.mkdir()
        (folder / name).write_text(text)
        (folder / "ignored.txt").write_text(text)
        return digest_tree(folder, "*.py")

    assert len({digest("a.py", "x"), digest("b.py", "x"), digest("a.py", "y")}) == 3


def test_the_project_root_is_the_nearest_folder_above_with_a_prefect_yaml(tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").touch()
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)

    assert project_root(deep) == tmp_path.resolve()


def test_without_evergreen_home_state_lies_below_the_project_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prefect.yaml").touch()
    monkeypatch.delenv("EVERGREEN_HOME")
    monkeypatch.chdir(tmp_path)

    assert evergreen_home() == tmp_path.resolve() / ".evergreen"


def test_a_lock_is_waited_for_and_ends_with_the_process_that_held_it(tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from pipeline_lib.storage import lock\n"
        "with lock(Path(sys.argv[1]), on_wait=lambda: None):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / ".lock")]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    waits: list[str] = []

    def kill_the_holder() -> None:
        waits.append("waiting")
        holder.kill()
        holder.wait()

    with lock(tmp_path / ".lock", on_wait=kill_the_holder):
        pass

    assert waits == ["waiting"]


def _project(folder: Path, *, marked: bool = True) -> Path:
    """Make a project with a config; return the config."""
    (folder / "configs").mkdir(parents=True)
    if marked:
        (folder / "prefect.yaml").touch()
    config = folder / "configs" / "shop.yaml"
    config.touch()
    return config


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the home be the project's."""
    monkeypatch.delenv("EVERGREEN_HOME")


def test_the_home_of_a_config_lies_in_its_project_wherever_one_stands(
    no_home: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _project(tmp_path / "project")
    _project(tmp_path / "another")

    for place in (tmp_path, tmp_path / "another", Path("/")):
        monkeypatch.chdir(place)
        with in_project(project_of(config)):
            assert evergreen_home() == tmp_path / "project" / ".evergreen"
        assert evergreen_home() != tmp_path / "project" / ".evergreen"


@pytest.mark.parametrize("place", [".", "configs", "configs/north/shop.yaml"])
def test_a_config_belongs_to_the_nearest_project_above_it(tmp_path: Path, place: str) -> None:
    config = _project(tmp_path / "outer")
    _project(tmp_path / "outer" / "inner")

    below = config.parent / place if place.endswith(".yaml") else config
    nested = tmp_path / "outer" / "inner" / place / "shop.yaml"

    assert project_of(below) == tmp_path / "outer"
    assert project_of(nested) == tmp_path / "outer" / "inner"


def test_without_a_prefect_yaml_the_project_is_the_configs_folder_or_the_one_around_configs(
    no_home: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _project(tmp_path / "plain", marked=False)

    assert project_of(config) == tmp_path / "plain"
    assert project_of(tmp_path / "plain" / "shop.yaml") == tmp_path / "plain"
    for place in (tmp_path / "plain", config.parent):  # where a NAME is asked for
        monkeypatch.chdir(place)
        assert evergreen_home() == tmp_path / "plain" / ".evergreen"


def test_a_folder_named_configs_with_a_prefect_yaml_is_a_project(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "prefect.yaml").touch()

    assert project_of(tmp_path / "configs" / "shop.yaml") == tmp_path / "configs"


def test_a_linked_config_belongs_to_the_project_of_the_file_it_links_to(tmp_path: Path) -> None:
    config = _project(tmp_path / "project")
    (tmp_path / "linked.yaml").symlink_to(config)
    (tmp_path / "link").symlink_to(tmp_path / "project")

    assert project_of(tmp_path / "linked.yaml") == tmp_path / "project"
    assert project_of(tmp_path / "link" / "configs" / "shop.yaml") == tmp_path / "project"


def test_evergreen_home_is_stronger_than_the_project(tmp_path: Path) -> None:
    config = _project(tmp_path / "project")

    with in_project(project_of(config)):
        assert evergreen_home() == Path(os.environ["EVERGREEN_HOME"])


def test_a_home_that_is_made_is_reported_once_and_another_folder_is_not(
    no_home: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = _project(tmp_path / "project")

    with in_project(project_of(config)):
        writable_folder(tmp_path / "elsewhere")
        assert caplog.messages == []
        writable_folder(dataset_folder("shop"))
        writable_folder(dataset_folder("sales"))

    assert caplog.messages == [f"home made: {tmp_path}/project/.evergreen"]


def test_a_new_home_beside_one_of_the_working_directory_names_that_one(
    no_home: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = _project(tmp_path / "project")
    (tmp_path / "here" / ".evergreen" / "datasets").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")

    with in_project(project_of(config)):
        writable_folder(evergreen_home())

    (told,) = caplog.messages
    assert told.startswith(f"home made: {tmp_path}/project/.evergreen")
    assert f"EVERGREEN_HOME={tmp_path}/here/.evergreen" in told


@pytest.mark.parametrize("name", ["what?", "a%20b", "100%ef"])
def test_a_home_that_databases_would_look_for_elsewhere_is_refused_before_it_is_made(
    no_home: None, tmp_path: Path, name: str
) -> None:
    config = _project(tmp_path / name)

    with in_project(project_of(config)), pytest.raises(StorageError, match="EVERGREEN_HOME"):
        writable_folder(dataset_folder("shop"))

    assert not (tmp_path / name / ".evergreen").exists()


@pytest.mark.parametrize("name", ["a b", "ümlaut", "50%", "a#b", "a&b=c+d;e"])
def test_a_home_with_any_other_letter_is_taken(no_home: None, tmp_path: Path, name: str) -> None:
    config = _project(tmp_path / name)

    with in_project(project_of(config)):
        folder = writable_folder(dataset_folder("shop"))

    assert folder == tmp_path / name / ".evergreen" / "datasets" / "shop"


def test_a_file_where_a_folder_has_to_be_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "state"
    file.write_text("")
    monkeypatch.setenv("EVERGREEN_HOME", str(file))

    for folder in (file, file / "datasets"):
        with pytest.raises(StorageError, match=rf"cannot make .*: {file} is a file\. Rename it"):
            writable_folder(folder)


def test_a_last_line_cut_by_a_kill_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.jsonl"
    append_json_line(path, {"n": 1})
    path.write_bytes(path.read_bytes() + b'{"n": 2, "rea')

    for _ in range(3):
        assert read_json_lines(path) == [{"n": 1}]
    append_json_line(path, {"n": 3})

    (told,) = [record.getMessage() for record in caplog.records]
    assert told == f"""{path}: its last line was cut short and is left out: '{{"n": 2, "rea'"""


def test_a_last_line_whose_end_an_editor_has_left_out_counts(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    append_json_line(path, {"n": 1})
    path.write_bytes(path.read_bytes() + b'{"n": 2}')

    assert read_json_lines(path) == [{"n": 1}, {"n": 2}]
    append_json_line(path, {"n": 3})

    assert read_json_lines(path) == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_blank_lines_between_lines_are_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"n": 1}\n\n{"n": 2}\n\n')

    assert read_json_lines(path) == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize(
    "line",
    [
        b"[1]",
        b"3",
        b"null",
        b'"word"',
        b'{"n": 2',
        b"\0\0\0\0",
        b"\xff\xfe",
        b"[" * 100_000,
        b"{}{}",
    ],
)
def test_a_line_that_is_no_object_is_damage_with_its_number(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"n": 1}\n' + line + b'\n{"n": 3}\n')
    told: list[str] = []

    with pytest.raises(StorageError) as refused:
        read_json_lines(path)

    assert str(refused.value).startswith(f"{path}:2 is damaged: ")
    assert str(refused.value).endswith(". Restore the file, or remove the line")
    assert len(str(refused.value)) < 400 + len(str(path))
    assert read_json_lines(path, on_damage=told.append) == [{"n": 1}, {"n": 3}]
    assert told == [str(refused.value)]


def test_a_line_that_its_reader_refuses_is_damaged_too(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    append_json_line(path, {"n": "1"})
    append_json_line(path, {"m": "2"})

    with pytest.raises(StorageError, match=r"journal\.jsonl:2 is damaged: 'n'\."):
        read_json_lines(path, lambda line: line["n"])


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
        "from pipeline_lib.storage import believed, read_json_lines\n"
        "os.setuid(65534)\n"
        "for read, path in ((believed, sys.argv[1]), (read_json_lines, sys.argv[2])):\n"
        "    try: print(read(Path(path)))\n"
        "    except StorageError as error: print(error)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, folder, lines],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )

    said = done.stdout.splitlines()
    assert said[0].startswith(f"cannot use {folder / 'a.txt'}: Permission denied; it belongs to ")
    assert said[1].startswith(f"cannot use {lines}: Permission denied; it belongs to ")
    assert "damaged" not in done.stdout
