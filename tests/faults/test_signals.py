"""Signals at awkward moments: where what a handler raises is lost, and the first and second one."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]

# Each loses what is raised in it, once: the program would go on.
LOSSES = {
    "a weakref's callback": """
import weakref
class Thing: pass
def lose(act):
    thing = Thing()
    held = weakref.ref(thing, lambda _: act())
    del thing
""",
    "a finalizer": """
def lose(act):
    class Thing:
        def __del__(self): act()
    Thing()
""",
    "the garbage collector": """
import gc
def lose(act):
    def callback(phase, info):
        gc.callbacks.remove(callback)
        act()
    gc.callbacks.append(callback)
    gc.collect()
""",
    "a callback of C": """
import ctypes
def lose(act):
    ctypes.CFUNCTYPE(None)(act)()
""",
    "a function in SQLite": """
import sqlite3
def lose(act):
    base = sqlite3.connect(":memory:")
    base.set_progress_handler(act, 1)
    try:
        base.execute("select 1").fetchall()
    except sqlite3.OperationalError:
        pass
""",
    "a library that catches all": """
def lose(act):
    try:
        act()
    except BaseException:
        pass
""",
    "a library that raises another one": """
def lose(act):
    try:
        try:
            act()
        except BaseException as error:
            raise RuntimeError("retry") from None
    except RuntimeError:
        pass
""",
    "a key's comparison": """
def lose(act):
    class Key:
        def __hash__(self): return 1
        def __eq__(self, other): act(); return True
    try:
        hasattr(type("T", (), {"__getattr__": lambda self, name: act()})(), "x")
    except BaseException:
        pass
""",
    "a generator that is thrown away": """
def lose(act):
    def endless():
        try:
            yield
        finally:
            act()
    next(endless())
""",
}
PROGRAM = """
import os, signal, sys, time
import evergreen.app as app
{loss}
number = int(sys.argv[1])

def command():
    lose(lambda: signal.raise_signal(number))
    print("lost", flush=True)
    end = time.monotonic() + 900
    while time.monotonic() < end:
        sum(range(1000))
    print("went on", flush=True)
    return 0

app.run_command = command
from evergreen.__main__ import main
sys.argv = ["evergreen", "run"]
main()
"""


def ran(program: str, *arguments: object, timeout_s: float = 900) -> Any:
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
        preexec_fn=hear_signals,
    )


def hear_signals() -> None:
    """Ignore nothing that the tests' own parent may ignore, as nohup does."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("place", LOSSES)
def test_a_signal_that_is_lost_on_its_way_ends_the_command_all_the_same(place: str) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        done = ran(PROGRAM.format(loss=LOSSES[place]), number.value)

        assert (done.returncode, done.stderr) == (128 + number, "interrupted\n")
        assert done.stdout in ("lost\n", "")


def started(program: str, *arguments: object, options: tuple[str, ...] = ()) -> Any:
    return subprocess.Popen(
        [sys.executable, *options, "-c", program, *map(str, arguments)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_signals,  # noqa: PLW1509
    )


def of(command: str) -> str:
    """Return a program whose command is a function that is told `say`, and waits for signals."""
    return f"""
import atexit, hashlib, os, signal, sys, time
import evergreen.app as app
def say(text): os.write(1, f"{{text}}\\n".encode())
{command}
app.run_command = command
from evergreen.__main__ import main
sys.argv = ["evergreen", "run"]
main()
"""


WAITS_TWICE = of("""
def command():
    try:
        say("ready")
        time.sleep(100)
    finally:
        say("tidies")
        time.sleep(float(sys.argv[1]))
        say("has tidied")
sys.argv = sys.argv[:2]
seconds = sys.argv[1]
""").replace("float(sys.argv[1])", "float(seconds)")


def test_a_second_signal_ends_at_once() -> None:
    process = started(WAITS_TWICE, 300)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "tidies\n"
    time.sleep(1.2)  # within a second they are one request
    process.send_signal(signal.SIGINT)

    out, told = process.communicate(timeout=900)

    assert (process.returncode, out, told) == (143, "", "interrupted\n")


def test_signals_that_come_together_are_one_request_and_what_is_open_is_put_away() -> None:
    process = started(WAITS_TWICE, 0.1)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGSTOP)  # so that they arrive together however busy the machine is
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGTERM):
        process.send_signal(number)
    process.send_signal(signal.SIGCONT)

    out, told = process.communicate(timeout=900)

    assert (process.returncode, told) == (129, "interrupted\n")
    assert out == "tidies\nhas tidied\n"


IN_A_LONG_CALL = of("""
import threading
def command():
    threading.Timer(1, say, ["ready"]).start()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 400_000_000)
""")


def test_a_second_signal_ends_a_call_that_takes_minutes() -> None:
    process = started(IN_A_LONG_CALL)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    time.sleep(1.5)
    assert process.poll() is None
    process.send_signal(signal.SIGHUP)

    _, told = process.communicate(timeout=900)

    assert (process.returncode, told) == (129, "interrupted\n")


AT_THE_END = of("""
def command():
    @atexit.register
    def goodbye():
        say("ready")
        time.sleep(100)
    return 0
""")


def test_a_signal_while_the_process_says_goodbye_ends_it_without_a_traceback() -> None:
    process = started(AT_THE_END)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)

    _, told = process.communicate(timeout=900)

    assert (process.returncode, told) == (130, "interrupted\n")


@pytest.mark.parametrize("module", ["cyclopts", "evergreen.failures", "pipeline_lib.storage"])
def test_ctrl_c_while_modules_are_imported_shows_no_traceback(module: str) -> None:
    # `-X importtime` writes a line for each module that has been imported.
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "evergreen", "check", "configs/none.yaml"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_signals,  # noqa: PLW1509
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.endswith(f"| {' ' * 0}{module}\n") or line.split("|")[-1].strip() == module:
            process.send_signal(signal.SIGINT)
            break

    _, told = process.communicate(timeout=900)

    said = [line for line in told.splitlines() if not line.startswith("import time:")]
    assert (process.returncode, said) == (130, ["interrupted"])


# From 3.12 on Python warns of a fork beside other threads; this child is none of them.
FORKS = of("""
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
def command():
    theirs, ours = os.pipe()
    if not (child := os.fork()):
        say("child")
        os.write(ours, b"ready")
        time.sleep(900)
        os._exit(0)
    os.read(theirs, 5)
    os.kill(child, signal.SIGTERM)
    say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    time.sleep(1.5)
    return 0
""")


def test_a_child_that_is_ended_ends_nobody_else() -> None:
    done = ran(FORKS)

    assert (done.returncode, done.stdout, done.stderr) == (0, "child\n-15\n", "")


def test_a_signal_that_the_parent_ignores_stays_ignored() -> None:
    program = of("def command():\n    os.kill(os.getpid(), signal.SIGHUP)\n    return 0")
    ignoring = f"import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n{program}"

    done = ran(ignoring)

    assert (done.returncode, done.stderr) == (0, "")


QUICK = of("""
def command():
    say("ready")
    time.sleep(100)
""")


def test_a_command_that_ends_in_no_time_says_its_line_once() -> None:
    processes = [started(QUICK) for _ in range(4)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)

    told = [process.communicate(timeout=900)[1] for process in processes]

    assert [process.returncode for process in processes] == [143] * 4
    assert told == ["interrupted\n"] * 4
