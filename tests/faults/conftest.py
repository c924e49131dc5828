"""What faults happen to: `evergreen run` in a process of its own, and real servers."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
import urllib.request
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

    def wait_until(self, happened: Callable[[], bool], timeout_s: float = 900) -> None:
        """Wait for something to happen while the command runs."""
        end = time.monotonic() + timeout_s
        while not happened():
            assert self.process.poll() is None, f"it has ended:\n{self.printed}"
            assert time.monotonic() < end, f"it did not happen:\n{self.printed}"
            time.sleep(0.05)

    def press_ctrl_c(self) -> None:
        """Type it: the terminal sends SIGINT to each process of the command."""
        os.write(self.terminal, b"\x03")

    def wait(self, timeout_s: float = 900) -> int:
        """Return the exit code; what is printed meanwhile is taken, so that nobody waits."""
        end = time.monotonic() + timeout_s
        while self.process.poll() is None and time.monotonic() < end:
            _ = self.printed
            time.sleep(0.05)
        assert self.process.returncode is not None, f"it did not end:\n{self.printed}"
        return self.process.returncode

    def survivors(self, patience_s: float = 900) -> list[int]:
        """Return the processes of its session that are left after some time."""
        end = time.monotonic() + patience_s
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(0.05)
        return left

    def processes(self) -> list[int]:
        """Return the processes of its session."""
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


@dataclass
class Server:
    """A server on a port of its own, that may be killed and started again."""

    command: list[str]
    url: str
    health: str
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self, timeout_s: float = 900) -> None:
        """Start it, and return when it answers."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command,
                cwd=PROJECT,
                env=self.environment,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        end = time.monotonic() + timeout_s
        while self.health:
            try:
                with urllib.request.urlopen(f"{self.url}{self.health}", timeout=5):
                    return
            except OSError:
                assert self.process.poll() is None, self.log.read_text()[-3000:]
                assert time.monotonic() < end, self.log.read_text()[-3000:]
                time.sleep(0.2)

    def kill(self) -> None:
        """End it and its processes at once."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An MLflow server, running, as the README starts it."""
    home, port = tmp_path_factory.mktemp("mlflow"), _free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}", "--no-serve-artifacts"]
    command += ["--default-artifact-root", (home / "artifacts").as_uri()]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment = {**_clean_environment(), **quiet}
    server = Server(command, f"http://127.0.0.1:{port}", "/health", environment, home / "log")
    yield from _running(server)


@pytest.fixture(scope="module")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Prefect server, running; its clients take `url` with `/api`."""
    home, port = tmp_path_factory.mktemp("prefect"), _free_port()
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    environment = {**_clean_environment(), **quiet, "PREFECT_HOME": str(home)}
    server = Server(command, f"http://127.0.0.1:{port}", "/api/health", environment, home / "log")
    yield from _running(server)


@pytest.fixture(scope="module")
def worker(prefect_server: Server) -> Iterator[Callable[[Path], Server]]:
    """Return a function that deploys to the Prefect server and starts a worker for a home."""
    started: list[Server] = []

    def start(home: Path) -> Server:
        home.mkdir(parents=True)
        environment = {
            **prefect_server.environment,
            "PREFECT_API_URL": f"{prefect_server.url}/api",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "EVERGREEN_HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        deploy = [sys.executable, "-m", "evergreen", "deploy"]
        subprocess.run(deploy, cwd=PROJECT, env=environment, check=True, capture_output=True)
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "evergreen"]
        started.append(Server(command, "", "", environment, home / "worker.log"))
        started[-1].start()
        return started[-1]

    yield start
    for server in started:
        server.kill()


@dataclass
class Proxy:
    """Stands before a server; it can fall silent: calls are taken, and nothing is answered.

    It does so by itself at the first call in which the bytes `silent_at` stand.
    """

    target: int
    silent_at: bytes = b""
    is_silent: threading.Event = field(default_factory=threading.Event)
    _listener: socket.socket = field(default_factory=socket.socket)
    _open: list[socket.socket] = field(default_factory=list[socket.socket])

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def start(self) -> None:
        """Listen."""
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def fall_silent(self, *, at: bytes = b"") -> None:
        """Answer nothing any more, now or from a call on."""
        self.silent_at = at
        if not at:
            self.is_silent.set()

    def speak(self) -> None:
        """Answer again; who waited is cut off."""
        self.silent_at = b""
        self.is_silent.clear()
        self._close_all()

    def stop(self) -> None:
        """End it."""
        self._listener.close()
        self._close_all()

    def _close_all(self) -> None:
        while self._open:
            with contextlib.suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                if self.is_silent.is_set():
                    continue
                try:
                    server = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    client.close()
                    continue
                self._open.append(server)
                for here, there, asks in ((client, server, True), (server, client, False)):
                    arguments = (here, there, asks)
                    threading.Thread(target=self._pass_on, args=arguments, daemon=True).start()

    def _pass_on(self, here: socket.socket, there: socket.socket, asks: bool) -> None:
        recent = b""
        with contextlib.suppress(OSError):
            while data := here.recv(65536):
                recent = (recent + data)[-131072:]
                if asks and self.silent_at and self.silent_at in recent:
                    self.is_silent.set()
                if self.is_silent.is_set():
                    return  # both ends stay open
                there.sendall(data)
            there.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy() -> Iterator[Callable[[Server], Proxy]]:
    """Return a function that puts a proxy before a server."""
    started: list[Proxy] = []

    def before(server: Server) -> Proxy:
        started.append(Proxy(int(server.url.rpartition(":")[2])))
        started[-1].start()
        return started[-1]

    yield before
    for each in started:
        each.stop()


def _running(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        server.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
        command.append("--promote")  # values of a run's own make it an experiment otherwise
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
            preexec_fn=_take_the_terminal if terminal else _hear_signals,  # noqa: PLW1509 - no locks
        )
        os.close(theirs)
        started.append(Command(process, home, ours))
        return started[-1]

    yield run
    for command in started:
        for pid in command.processes():
            os.kill(pid, signal.SIGKILL)
        command.process.wait()
        os.close(command.terminal)


def _clean_environment() -> dict[str, str]:
    # Processes of pytest-xdist have COLUMNS, which is taken before the terminal's own width.
    named = ("MLFLOW_", "PREFECT_", "EVERGREEN_", "COLUMNS", "LINES")
    return {name: value for name, value in os.environ.items() if not name.startswith(named)}


def _hear_signals() -> None:
    """Ignore nothing that the tests' own parent may ignore, as nohup does."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _take_the_terminal() -> None:
    _hear_signals()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
