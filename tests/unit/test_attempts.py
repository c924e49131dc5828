"""Which runs of a dataset a process still makes, and what is known of those that are over."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from pipeline_lib.attempts import Attempt, abandoned, attempt_of, is_registered
from pipeline_lib.errors import StorageError
from pipeline_lib.home import find_home

PROJECT = Path(__file__).resolve().parents[2]
CODE = """
import sys, time
from pipeline_lib.attempts import Attempt
from pipeline_lib.home import find_home
Attempt.begin(find_home().dataset("toy"), sys.argv[1])
print("begun", flush=True)
time.sleep(600)
"""

Begin = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Return a function that begins an attempt in a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def in_a_process(flow_run_id: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", CODE, flow_run_id],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        return process

    yield in_a_process
    for process in started:
        process.kill()
        process.wait()


def ids() -> list[str]:
    return [attempt.flow_run_id for attempt in abandoned(find_home().dataset("toy"))]


def test_a_run_is_abandoned_when_its_process_is_killed_and_not_before(begin: Begin) -> None:
    first, second = str(uuid4()), str(uuid4())
    victim = begin(first)
    begin(second)
    assert ids() == []

    victim.send_signal(signal.SIGKILL)
    victim.wait()

    assert ids() == [first]
    assert is_registered(find_home().dataset("toy"), second)
    abandoned(find_home().dataset("toy"))[0].forget()
    assert ids() == []


def test_what_a_run_came_to_is_known_after_its_process(begin: Begin) -> None:
    flow_run_id = str(uuid4())
    process = begin(flow_run_id)
    attempt_of(find_home().dataset("toy"), flow_run_id).end({"type": "COMPLETED", "name": "Kept"})
    attempt_of(find_home().dataset("toy"), flow_run_id).note({"page": "report.md"})

    process.kill()
    process.wait()

    (attempt,) = abandoned(find_home().dataset("toy"))
    assert attempt.facts() == {"type": "COMPLETED", "name": "Kept", "page": "report.md"}


def test_a_run_that_is_begun_again_forgets_how_it_ended_before(begin: Begin) -> None:
    flow_run_id = str(uuid4())
    process = begin(flow_run_id)
    attempt_of(find_home().dataset("toy"), flow_run_id).end({"type": "FAILED"})
    process.kill()
    process.wait()

    begin(flow_run_id)

    assert ids() == []
    assert attempt_of(find_home().dataset("toy"), flow_run_id).facts() == {}


def test_runs_of_one_process_are_over_when_the_next_one_begins() -> None:
    first, second = str(uuid4()), str(uuid4())
    ended = Attempt.begin(find_home().dataset("toy"), first)
    ended.end({"type": "COMPLETED"})
    assert ids() == []

    Attempt.begin(find_home().dataset("toy"), second)

    assert ids() == [first]


def test_files_of_other_names_links_and_damaged_lines_do_no_harm(tmp_path: Path) -> None:
    folder = find_home().dataset("toy").folder / "attempts"
    folder.mkdir(parents=True)
    (folder / "notes.jsonl").write_text("{}\n")
    (tmp_path / "theirs").write_text('{"type": "COMPLETED"}\n')
    (folder / f"{uuid4()}.jsonl").symlink_to(tmp_path / "theirs")
    damaged = folder / f"{uuid4()}.jsonl"
    damaged.write_text("{no json\n")

    (attempt,) = abandoned(find_home().dataset("toy"))

    assert attempt.path == damaged
    assert attempt.facts() == {}


def test_a_link_in_the_place_of_a_new_run_is_not_followed(tmp_path: Path) -> None:
    flow_run_id = str(uuid4())
    folder = find_home().dataset("toy").folder / "attempts"
    folder.mkdir(parents=True)
    (tmp_path / "theirs").write_text("kept")
    (folder / f".{flow_run_id}").symlink_to(tmp_path / "theirs")

    with pytest.raises(StorageError):
        Attempt.begin(find_home().dataset("toy"), flow_run_id)

    assert (tmp_path / "theirs").read_text() == "kept"


def test_an_attempt_that_nobody_asks_for_grows_old() -> None:
    attempt = Attempt.begin(find_home().dataset("toy"), str(uuid4()))
    assert not attempt.is_old()

    os.utime(attempt.path, (time.time() - 31 * 86_400,) * 2)

    assert attempt.is_old()
