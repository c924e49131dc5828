"""Control characters of names and messages: shown by their escapes, wherever a person reads."""

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evergreen.commands.run import _Terminal
from evergreen.failures import describe
from evergreen.tables import print_json, print_table, say
from pipeline_lib.errors import EvergreenError, SourceError
from pipeline_lib.evaluation.plots import plot_confusion
from pipeline_lib.evaluation.report import FailureRecord
from pipeline_lib.monitoring.drift_report import escape, short_name
from pipeline_lib.shown import printable, show_log_lines, shown
from pipeline_lib.wording import did_you_mean, first_line

# ESC, BEL, CR, NUL, DEL, CSI of one byte, line ends of Unicode, marks of direction, halves of
# pairs, a blank that draws nothing, a tag, and a sign for private use.
SIGNS = [
    *"\x1b\x07\r\x00\x7f\x9b\x85\u2028\u2029\u200e\u200f\u202a\u202e\u2066\u2069\u061c",
    *"\ud800\udfff\udce9\u200b\ufeff\u00ad\U000e0041\ue000",
]
ATTACK = "x\x1b]0;owned\x07\x1b[2K\rall is well \u202egnp.exe\ud800"


def is_harmless(text: str) -> bool:
    """Return whether a terminal would only draw a text."""
    return all(line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize("sign", SIGNS)
def test_a_sign_that_draws_nothing_is_shown_by_its_escape(sign: str) -> None:
    told = printable(f"a{sign}b")

    assert told.startswith("a\\")
    assert told.endswith("b")
    assert told.isprintable()
    assert eval(f"'{told}'") == f"a{sign}b"  # noqa: S307 - of a literal of this test


def test_a_text_that_can_be_read_stays_as_it_is() -> None:
    for text in ("größe", "大きさ", "Größe → 3 × 4", "a|b", "it's \\n", "👍"):
        assert printable(text) == shown(text) == text


@pytest.mark.parametrize("sign", SIGNS)
def test_every_way_to_a_reader_goes_through_that_step(
    sign: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"a{sign}b"
    told = [
        str(EvergreenError(f"cannot use {name}")),
        str(SourceError(name)),
        first_line(ValueError(name)),
        describe(RuntimeError(name)),
        did_you_mean("ab", [name]),
        escape(name),
        short_name(name),
    ]
    say(f"config {name}")
    print_table(("column",), ((name,),))
    print_json({name: [name]})
    told += [capsys.readouterr().out]

    for text in told:
        assert is_harmless(text), repr(text)
        text.encode("utf-8")


def test_json_for_programs_keeps_the_value_of_every_sign(
    capsys: pytest.CaptureFixture[str],
) -> None:
    value = {sign: f"a{sign}b" for sign in SIGNS if not "\ud800" <= sign <= "\udfff"}

    print_json(value)

    said = capsys.readouterr().out
    assert is_harmless(said)
    assert json.loads(said) == value


def test_a_log_line_neither_moves_the_cursor_nor_looks_like_another_line() -> None:
    stream = io.StringIO()
    handler = _Terminal(stream)
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("some.library")
    logger.addHandler(handler)
    factory = logging.getLogRecordFactory()
    try:
        show_log_lines()
        logger.warning("cannot open %s", f"{ATTACK}\n12:00:00  decide    promoted: all is well")
        logger.warning("90% of " + ATTACK)  # noqa: G003 - as others write them
        try:
            raise ValueError(ATTACK)
        except ValueError:
            logger.exception("lost")
    finally:
        logging.setLogRecordFactory(factory)
        logger.removeHandler(handler)

    said = stream.getvalue()
    assert is_harmless(said)
    assert "\\x1b[2K\\rall is well \\u202e" in said
    assert "\n12:00:00" not in said
    assert "Traceback" in said


def test_pages_and_plots_show_names_by_their_escapes() -> None:
    error = SourceError(f"{ATTACK}.csv: no file\n  column {ATTACK!r}: gone")
    page = FailureRecord("cars", "stopped", error, None, {}).to_markdown()
    foreign = FailureRecord("cars", "failed", OSError(ATTACK), None, {})
    figure = plot_confusion(np.eye(2, dtype=np.int64), [ATTACK, "plain"])

    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert is_harmless(page)
    assert is_harmless(foreign.to_markdown() + foreign.summary)
    assert is_harmless("".join(labels))
    assert labels[1] == "plain"
    figure.savefig(io.BytesIO())


def test_a_file_whose_name_gives_orders_is_named_harmlessly(tmp_path: Path) -> None:
    drop = tmp_path / "configs" / "drop"
    drop.mkdir(parents=True)
    rows = "color,size,label\n" + "".join(f"red,{n},a\nblue,{n},b\n" for n in range(60))
    for name in (b"a\x1b[2K\r.csv", "b\u202ecsv.exe.csv".encode(), b"c\xe9\n12:00 kept.csv"):
        Path(os.fsdecode(os.fsencode(drop) + b"/" + name)).write_text(rows)
    config = tmp_path / "configs" / "toy.yaml"
    config.write_text(
        "name: toy\n"
        "data: {source: {kind: csv, path: 'drop/*.csv'}, target: label, task: binary}\n"
        "columns: {color: {kind: category}, size: {kind: number}}\n"
        "validation: {duplicates: warn}\n"
    )
    broken = next(drop.glob("c*"))
    broken.write_text(f"{rows}red,1,a,more\n")

    command = [sys.executable, "-m", "evergreen", "check", str(config)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=900)
    said = (done.stdout + done.stderr).decode()

    assert done.returncode == 3
    assert "c\\udce9\\n12:00 kept.csv:122: a long row" in said
    assert is_harmless(said)
