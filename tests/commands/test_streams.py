"""What a command prints reaches its reader, whatever the encoding, the disk or the reader does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
CONFIG = """
name: shop
data:
  source: {kind: csv, path: shop.csv}
  target: label
  task: binary
columns:
  größe: {kind: category, severity: warn, allowed: [klein]}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a config whose `check` prints signs that few encodings have."""
    rows = "".join(f"groß→😀,{'ja' if n % 2 else 'nein'}\n" for n in range(40))
    (tmp_path / "shop.csv").write_text(f"größe,label\n{rows}", encoding="utf-8")
    path = tmp_path / "shop.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def check(config: Path, shell: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run `evergreen check` on the config; `shell` follows the command."""
    return subprocess.run(
        ["/bin/sh", "-c", f'"$0" -m evergreen check "$1" {shell}', sys.executable, str(config)],
        cwd=PROJECT,
        env={**os.environ, **environment},
        capture_output=True,
        timeout=900,
        check=False,
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_good_check_ends_well_in_every_encoding(config: Path, encoding: str) -> None:
    done = check(config, PYTHONIOENCODING=encoding)

    assert done.returncode == 0, done.stderr
    assert "40 rows" in done.stdout.decode(encoding)


def test_a_good_check_ends_well_in_a_locale_without_unicode(config: Path) -> None:
    done = check(config, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")

    assert done.returncode == 0, done.stderr
    assert b"\\u2192 label" in done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_valid_and_whole_in_every_encoding(config: Path, encoding: str) -> None:
    done = check(config, "--json", PYTHONIOENCODING=encoding)

    facts = json.loads(done.stdout.decode(encoding))
    assert "größe" in json.dumps(facts, ensure_ascii=False)
    assert "groß→😀" in json.dumps(facts, ensure_ascii=False)


def test_output_that_is_lost_for_want_of_space_is_said_and_exits_1(config: Path) -> None:
    done = check(config, "> /dev/full")

    assert done.returncode == 1
    assert done.stderr == b"error: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", ">&- 2>&- <&-", "2> /dev/full"])
def test_closed_streams_are_no_mistake(config: Path, redirection: str) -> None:
    done = check(config, redirection)

    assert (done.returncode, done.stderr) == (0, b"")


def test_a_reader_who_has_seen_enough_is_no_mistake(config: Path) -> None:
    shell = "--json; echo $? >&2) | true"
    done = subprocess.run(
        ["/bin/sh", "-c", f'("$0" -m evergreen check "$1" {shell}', sys.executable, str(config)],
        cwd=PROJECT,
        capture_output=True,
        timeout=900,
        check=False,
    )

    assert done.stderr == b"0\n"
