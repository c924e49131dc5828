"""`evergreen run` as a process that tests interrupt, with and without a terminal."""

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
CONFIG = "configs/car_evaluation.yaml"
COLUMNS = 70  # of the terminal
SMALL = ("model.d_hidden=[8]", "promotion.floor=0.3")


@dataclass
class Command:
    """A running command, its home, and what it has printed; `terminal` is its other end."""

    process: subprocess.Popen[bytes]
    home: Path
    terminal: int
    _seen: bytearray = field(default_factory=bytearray)

    @property
    def printed(self) -> str:
        """Everything so far, output and errors."""
        while select.select([self.terminal], [], [], 0)[0]:
            try:
                more = os.read(self.terminal, 65536)
            except OSError:  # a terminal whose last process has gone
                break
            if not more:
                break
            self._seen += more
        return self._seen.decode().replace("\r\n", "\n")

    def epochs(self, *, since_ns: int = 0) -> list[str]:
        """Return the whole lines of the `epochs.jsonl` that was written since then."""
        for file in self.home.glob("runs/*/epochs.jsonl"):
            if file.stat().st_mtime_ns > since_ns:
                return file.read_text().split("\n")[:-1]
        return []

    def wait_until(self, happened: Callable[[], bool], timeout_s: float = 120) -> None:
        """Wait for something to happen while the command runs."""
        end = time.monotonic() + timeout_s
        while not happened():
            assert self.process.poll() is None, f"it has ended:\n{self.printed}"
            assert time.monotonic() < end, f"it did not happen:\n{self.printed}"
            time.sleep(0.05)

    def press_ctrl_c(self) -> None:
        """Type it: the terminal sends SIGINT to each process of the command."""
        os.write(self.terminal, b"\x03")

    def wait(self, timeout_s: float = 120) -> int:
        """Return the exit code; what is printed meanwhile is taken, so that nobody waits."""
        end = time.monotonic() + timeout_s
        while self.process.poll() is None and time.monotonic() < end:
            _ = self.printed
            time.sleep(0.05)
        assert self.process.returncode is not None, f"it did not end:\n{self.printed}"
        return self.process.returncode

    def survivors(self) -> list[int]:
        """Return the processes of its session that are left."""
        left: list[int] = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                name, fields = stat.read_text().rsplit(")", 1)
            except OSError:  # it has ended meanwhile
                continue
            state, session = fields.split()[0], int(fields.split()[3])
            if session == self.process.pid and state != "Z":
                left.append(int(name.split(" ")[0]))
        return left


Start = Callable[..., Command]


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Return a function that starts `evergreen run` in a session of its own."""
    started: list[Command] = []

    def run(
        home: Path,
        *assignments: str,
        terminal: bool = False,
        options: tuple[str, ...] = (),
        **env: str,
    ) -> Command:
        command = [sys.executable, "-m", "evergreen", "run", CONFIG, *options]
        for assignment in (*SMALL, *assignments):
            command += ["--set", assignment]
        ours, theirs = pty.openpty() if terminal else os.pipe()
        if terminal:
            termios.tcsetwinsize(theirs, (24, COLUMNS))
        process = subprocess.Popen(
            command,
            cwd=PROJECT,
            env={**_clean_environment(), "EVERGREEN_HOME": str(home), "TERM": "xterm", **env},
            stdin=theirs if terminal else subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_the_terminal if terminal else None,  # noqa: PLW1509 - no locks in it
        )
        os.close(theirs)
        started.append(Command(process, home, ours))
        return started[-1]

    yield run
    for command in started:
        for pid in command.survivors():
            os.kill(pid, signal.SIGKILL)
        command.process.wait()
        os.close(command.terminal)


def _clean_environment() -> dict[str, str]:
    named = ("MLFLOW_", "PREFECT_", "EVERGREEN_")
    return {name: value for name, value in os.environ.items() if not name.startswith(named)}


def _take_the_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
