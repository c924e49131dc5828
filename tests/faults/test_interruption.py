"""Ctrl-C, SIGTERM and a closed terminal: one line, nothing lost, no process left behind."""

import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

pytestmark = pytest.mark.slow

ENDLESS = "training.epochs=100000"
OTHER_RATE = "training.optimizer.learning_rate=0.02"
HINT = "interrupted; run the same command again to go on"
CLEARED = "\r\x1b[K"


@dataclass(frozen=True)
class Ended:
    """How a command ended, what it printed, what it left."""

    code: int
    printed: str
    survivors: list[int]
    n_epochs: int

    @property
    def resumed_at(self) -> int | None:
        """The epoch at which it says that it resumes."""
        found = re.search(r"train     resumes at epoch (\d+)", self.printed)
        return int(found[1]) if found else None

    @property
    def screen(self) -> list[str]:
        """What a terminal still shows at the end."""
        return [line.rsplit(CLEARED, 1)[-1] for line in self.printed.split("\n")]


@dataclass(frozen=True)
class Story:
    """A night interrupted at a terminal, then another config, then it again, and with everyone."""

    home: Path
    at_the_terminal: Ended
    other_config: Ended
    again: Ended
    with_its_server: Ended

    @property
    def ends(self) -> list[Ended]:
        """Each of them, in their order."""
        return [self.at_the_terminal, self.other_config, self.again, self.with_its_server]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Any]) -> Story:
    """Live through it; `start` is of conftest.py."""
    home = tmp_path_factory.mktemp("interrupted") / "home"

    def interrupted(
        *assignments: str, by: signal.Signals, terminal: bool = False, everyone: bool = False
    ) -> Ended:
        began_ns = time.time_ns()
        command = start(home, ENDLESS, *assignments, terminal=terminal)
        command.wait_until(lambda: len(command.epochs(since_ns=began_ns)) > 30)
        if terminal:
            command.wait_until(lambda: "━" in command.printed or "rows/s" in command.printed)
            command.press_ctrl_c()
        elif everyone:  # as `timeout` and systemd do: Prefect's temporary server ends too
            os.killpg(command.process.pid, by)
        else:
            command.process.send_signal(by)
        code = command.wait()
        n_epochs = len(command.epochs(since_ns=began_ns))
        return Ended(code, command.printed, command.survivors(), n_epochs)

    return Story(
        home,
        interrupted(by=signal.SIGINT, terminal=True),
        interrupted(OTHER_RATE, by=signal.SIGTERM),
        interrupted(by=signal.SIGHUP),
        interrupted(by=signal.SIGTERM, everyone=True),
    )


def test_an_interruption_ends_with_the_exit_code_of_its_signal(story: Story) -> None:
    assert [ended.code for ended in story.ends] == [130, 143, 129, 143]


def test_an_interruption_prints_one_line_that_says_how_to_go_on(story: Story) -> None:
    for ended in story.ends:
        after = ended.printed.split("train     on cpu", 1)[1]
        told = [line for line in after.splitlines() if HINT in line]
        assert len(told) == 1
        assert ended.screen[-2:] == [HINT, ""]
        assert "Traceback" not in ended.printed
        assert "ERROR" not in ended.printed


def test_an_interrupted_command_leaves_no_process_behind(story: Story) -> None:
    assert [ended.survivors for ended in story.ends] == [[]] * 4


def test_each_interrupted_run_ends_as_killed(story: Story) -> None:
    client = MlflowClient(f"sqlite:///{story.home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("car_evaluation")
    assert experiment is not None

    runs = client.search_runs([experiment.experiment_id])

    assert [run.info.status for run in runs] == ["KILLED"] * 4


def test_another_config_starts_at_epoch_1_and_the_first_one_goes_on(story: Story) -> None:
    assert story.at_the_terminal.resumed_at is None
    assert story.other_config.resumed_at is None
    assert "checkpoint" not in story.other_config.printed

    assert story.again.resumed_at is not None
    done = story.at_the_terminal.n_epochs
    assert done <= story.again.resumed_at <= done + 2
    assert story.with_its_server.resumed_at is not None
    assert story.with_its_server.resumed_at >= story.again.n_epochs


def test_a_bar_at_the_terminal_fits_its_width_and_is_cleared(story: Story) -> None:
    bars = re.findall(
        r"\r\x1b\[K( {10}[^\r\n\x1b]*rows/s[^\r\n\x1b^]*)", story.at_the_terminal.printed
    )

    assert len(bars) >= 1
    assert max(len(bar) for bar in bars) < 70
    # A line of the log, which stays, begins with the time.
    left = [line for line in story.at_the_terminal.screen if line.startswith(" " * 10)]
    assert left == []


def test_no_terminal_gets_no_control_characters(story: Story) -> None:
    for ended in (story.other_config, story.again):
        assert re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", ended.printed) == []
