"""Another user of the machine, while `evergreen run` has its temporary Prefect server open."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

NIGHT = ("car_evaluation", "--set", "training.epochs=100000")
PROJECT = Path(__file__).resolve().parents[2]
# As any user could: which ports of loopback are listened on.
PORTS = """
import sys
for line in open("/proc/net/tcp").read().splitlines()[1:]:
    fields = line.split()
    if fields[3] == "0A" and fields[1].startswith("0100007F"):
        print(int(fields[1].split(":")[1], 16))
"""
ASK = """
import sys, urllib.error, urllib.request
url, method, body = sys.argv[1:4]
headers = dict(zip(sys.argv[4::2], sys.argv[5::2]))
request = urllib.request.Request(url, body.encode() or None, headers, method=method)
try:
    with urllib.request.urlopen(request, timeout=900) as answer:
        print(answer.status, answer.read(100))
except urllib.error.HTTPError as error:
    print(error.code)
"""
CALLS = [
    ("POST", "/flow_runs/filter", "{}"),
    ("POST", "/logs/filter", "{}"),
    ("POST", "/artifacts/filter", "{}"),
    ("GET", "/admin/settings", ""),
    ("GET", "/flow_runs/00000000-0000-0000-0000-000000000000", ""),
    ("POST", "/flow_runs/00000000-0000-0000-0000-000000000000/set_state", "{}"),
    ("POST", "/artifacts/", "{}"),
    ("POST", "/block_documents/filter", "{}"),
    ("GET", "/csrf-token?client=me", ""),
]


@dataclass(frozen=True)
class Running:
    """A night that trains for long, its server's process and port."""

    night: subprocess.Popen[str]
    server: int
    port: int
    home: Path
    printed: Path

    @property
    def secret(self) -> str:
        """What the server lets in, as root reads it."""
        environment = Path(f"/proc/{self.night.pid}/environ").read_bytes()
        assert b"AUTH_STRING" not in environment  # none of the caller's
        found = re.search(
            rb"PREFECT_SERVER_API_AUTH_STRING=([^\0]+)",
            Path(f"/proc/{self.server}/environ").read_bytes(),
        )
        assert found is not None
        return found[1].decode()


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def _cmdline(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def _port_of(pid: int) -> int | None:
    sockets = {
        str(link.readlink())[8:-1]
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if str(link.readlink()).startswith("socket:")
    }
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and fields[9] in sockets:
            return int(fields[1].split(":")[1], 16)
    return None


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("open") / "home"
    printed = home.parent / "printed"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
    with printed.open("w") as out:
        night = subprocess.Popen(
            [sys.executable, "-m", "evergreen", "run", *NIGHT],
            cwd=PROJECT,
            env={**clean, "EVERGREEN_HOME": str(home), "EVERGREEN_DEBUG": "1"},
            stdout=out,
            stderr=out,
            text=True,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + 900
        while not list(home.glob("runs/*/epochs.jsonl")):
            assert night.poll() is None, printed.read_text()
            assert time.monotonic() < end, printed.read_text()
            time.sleep(0.2)
        (server,) = [pid for pid in _children(night.pid) if "uvicorn" in _cmdline(pid)]
        port = _port_of(server)
        assert port is not None
        yield Running(night, server, port, home, printed)
    finally:
        os.killpg(night.pid, signal.SIGKILL)
        night.wait()


@pytest.mark.slow
def test_another_user_finds_the_port_and_is_let_in_nowhere(running: Running, as_other_user) -> None:
    ports = as_other_user("/usr/bin/python3", "-c", PORTS).stdout.split()
    url = f"http://127.0.0.1:{running.port}/api"

    answers = {
        (path, *headers): as_other_user(
            "/usr/bin/python3", "-c", ASK, f"{url}{path}", method, body, *headers
        ).stdout.strip()
        for method, path, body in CALLS
        for headers in (
            ("Content-Type", "application/json"),
            ("Content-Type", "text/plain", "Origin", "http://evil.example"),
            ("Content-Type", "application/json", "Authorization", "Basic ZXZlcmdyZWVuOg=="),
        )
    }

    assert str(running.port) in ports
    assert set(answers.values()) == {"401"}


@pytest.mark.slow
def test_the_credentials_stand_in_the_environment_and_nowhere_else(
    running: Running, as_other_user
) -> None:
    _, _, password = running.secret.partition(":")
    others = as_other_user("cat", f"/proc/{running.server}/environ")

    arguments = [_cmdline(int(path.name)) for path in Path("/proc").glob("[0-9]*")]
    files = [path for path in running.home.rglob("*") if path.is_file()]
    holders = [path for path in files if password.encode() in path.read_bytes()]

    assert len(password) >= 32
    assert others.returncode != 0
    assert not any(password in line for line in arguments)
    assert len(files) > 10
    assert holders == []
    assert password not in running.printed.read_text()


def _bind(port: int, *options: int) -> str:
    return f"""
import socket
s = socket.socket()
for option in {options!r}:
    s.setsockopt(socket.SOL_SOCKET, option, 1)
try:
    s.bind(("127.0.0.1", {port}))
    print("bound")
except OSError as error:
    print("refused")
"""


@pytest.mark.parametrize(
    "options", [(), (socket.SO_REUSEADDR,), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)]
)
def test_nobody_takes_the_port_before_the_server_is_there(
    options: tuple[int, ...], as_other_user
) -> None:
    from evergreen.own_server import OwnServer

    server = OwnServer(port=0)
    port = server.find_available_port()

    taken = as_other_user("/usr/bin/python3", "-c", _bind(port, *options))

    assert taken.stdout.strip() == "refused"
    server._bound.close()


def test_nobody_takes_the_port_when_the_server_has_ended(as_other_user) -> None:
    from evergreen.own_server import OwnServer

    server = OwnServer(port=0)
    port = server.find_available_port()
    server._bound.listen()
    server.release()

    taken = as_other_user("/usr/bin/python3", "-c", _bind(port, socket.SO_REUSEADDR))
    with socket.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect(("127.0.0.1", port))

    assert taken.stdout.strip() == "refused"
    server._bound.close()


def test_a_server_without_credentials_is_not_started() -> None:
    """The settings of this process hold none: tests import Prefect without the command."""
    code = "from evergreen.own_server import OwnServer; OwnServer().start()"
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )

    assert done.returncode == 1
    assert "AssertionError" in done.stderr


def test_each_process_has_credentials_of_its_own_whatever_the_user_exports(
    tmp_path: Path,
) -> None:
    code = """
import json, os
from evergreen.environment import prepare_prefect
from pipeline_lib.home import find_home
prepare_prefect(find_home())
prepare_prefect(find_home())
names = "PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_KEY"
print(json.dumps([os.environ.get(name) for name in names]))
"""
    exported = {
        "PREFECT_API_AUTH_STRING": "me:known",
        "PREFECT_SERVER_API_AUTH_STRING": "",
        "PREFECT_API_KEY": "of-another-server",
        "EVERGREEN_HOME": str(tmp_path),
    }
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}

    printed = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", code],
                cwd=PROJECT,
                env={**clean, **exported},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for _ in range(2)
    ]

    for mine, servers, key in printed:
        assert mine == servers
        assert "known" not in mine
        assert key is None
    assert printed[0] != printed[1]


@pytest.mark.slow
def test_a_server_that_prefects_own_files_name_gets_no_credentials_of_a_run(tmp_path: Path) -> None:
    """Its clients would go there with what is meant for the temporary server."""
    (tmp_path / "prefect.toml").write_text('[api]\nurl = "http://me:word@127.0.0.1:9/api"\n')
    config = tmp_path / "toy.yaml"
    config.write_text((PROJECT / "configs" / "car_evaluation.yaml").read_text())
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}

    done = subprocess.run(
        [sys.executable, "-m", "evergreen", "run", str(config)],
        cwd=tmp_path,
        env={**clean, "EVERGREEN_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )

    assert done.returncode == 1
    assert "export PREFECT_API_URL with its address" in done.stderr
    assert "word" not in done.stderr
