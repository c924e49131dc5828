"""No test fails because the machine is busy: what ends a hang is long, and nothing is timed."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
FILES = sorted(TESTS.rglob("*.py"))
LIMITS = ("timeout", "timeout_s", "patience_s", "server_startup_timeout")
PROBES = ("urlopen", ".get", ".post", "HTTPConnection", "create_connection")
CLOCKS = ("monotonic", "perf_counter", "time")
LEAST_S = 300


def _trees(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a file, and of the programs that it holds as text."""
    for inner in ast.walk(node):
        yield inner
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            try:
                yield from ast.walk(ast.parse(inner.value))
            except (SyntaxError, UnicodeEncodeError, RecursionError):
                continue


def _limits(node: ast.AST) -> Iterator[ast.expr]:
    """Yield what a call, or a function's default, sets as the longest time for something."""
    # A probe in a loop asks again, and the loop has a limit; or silence is what is tested.
    is_probe = isinstance(node, ast.Call) and ast.unparse(node.func).endswith(PROBES)
    if isinstance(node, ast.Call) and not is_probe:
        yield from (k.value for k in node.keywords if k.arg in LIMITS)
        if ast.unparse(node.func).endswith("mark.timeout"):
            yield from node.args
    if isinstance(node, ast.FunctionDef):
        named = [*node.args.posonlyargs, *node.args.args]
        with_default = named[len(named) - len(node.args.defaults) :]
        pairs = [
            *zip(with_default, node.args.defaults, strict=True),
            *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True),
        ]
        yield from (default for name, default in pairs if name.arg in LIMITS and default)


def _reads_a_clock(node: ast.AST) -> bool:
    return any(
        isinstance(inner, ast.Call)
        and isinstance(inner.func, ast.Attribute)
        and inner.func.attr in CLOCKS
        and ast.unparse(inner.func.value) == "time"
        for inner in ast.walk(node)
    )


def _hurries(text: str) -> list[str]:
    """Return the lines that a busy machine would fail at."""
    found: list[str] = []
    for node in _trees(ast.parse(text)):
        found += [
            f"ends after {limit.value} s: {ast.unparse(node)[:80]}"
            for limit in _limits(node)
            if isinstance(limit, ast.Constant)
            and isinstance(limit.value, int | float)
            and 0 < limit.value < LEAST_S  # 0 is no limit
        ]
        if isinstance(node, ast.Assert) and _reads_a_clock(node.test):
            is_deadline = ast.unparse(node.test).endswith(" < end")
            if not is_deadline:
                found.append(f"is timed: {ast.unparse(node.test)}")
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(TESTS).as_posix())
def test_no_test_is_timed_or_gives_up_within_five_minutes(file: Path) -> None:
    allowed = ("test_server_failures.py", Path(__file__).name)

    hurries = [] if file.name in allowed else _hurries(file.read_text(encoding="utf-8"))

    assert hurries == []


@pytest.mark.parametrize(
    "text",
    [
        "subprocess.run(command, timeout=60)",
        "def wait(path, timeout_s: float = 30): ...",
        "begin = time.monotonic()\nassert time.monotonic() - begin < 5",
        "SCRIPT = 'process.communicate(timeout=9)'",
        "@pytest.mark.timeout(60)\ndef test_a(): ...",
    ],
)
def test_a_test_in_a_hurry_is_found(text: str) -> None:
    assert len(_hurries(text)) == 1
