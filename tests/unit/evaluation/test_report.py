"""One page that says what happened; names from data are shown, never obeyed."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config.data import Task
from pipeline_lib.config.metrics import METRICS
from pipeline_lib.encoding.ledger import LedgerChange, Words
from pipeline_lib.errors import ContractError, Violation
from pipeline_lib.evaluation.gate import ChampionScores, Check, Decision
from pipeline_lib.evaluation.reliability import Reliability, ReliabilityBin
from pipeline_lib.evaluation.report import DecisionRecord, FailureRecord
from pipeline_lib.evaluation.results import ClassRow, EvaluationResult
from pipeline_lib.monitoring.drift_report import DriftReport, NightRecord, escape


def _quiet() -> DriftReport:
    """Return the report of a first night."""
    record = NightRecord(date(2026, 1, 1), 1728, "", {}, ())
    return DriftReport(has_reference=False, n_rows_before=0, n_rows=1728, rows=(), record=record)


def _record(**changes: Any) -> DecisionRecord:
    result = EvaluationResult(
        {"macro_f1": 0.91, "accuracy": 0.95, "log_loss": 0.2},
        {"constant": {"macro_f1": 0.2}, "boosting": {"macro_f1": 0.9}},
        finite=True,
        constant=False,
        classes=changes.pop("classes", (ClassRow("unacc", 0.9, 0.8, 0.85, 70),)),
        predictions=Path("x"),
        notes=changes.pop("result_notes", ()),
        fit_s={"": 34.56, "boosting": 1.24},
    )
    decision = Decision("promoted", "macro_f1 0.91 is not worse", (Check("finite", True, "all"),))
    values: dict[str, Any] = {
        "name": "toy",
        "task": "multiclass",
        "primary": "macro_f1",
        "decision": decision,
        "result": result,
        "champion": ChampionScores("3", {"macro_f1": 0.9, "accuracy": 0.94}),
        "version": "4",
        "source": "toy.csv",
        "n_rows": {"train": 1200, "val": 260, "test": 268},
        "changes": (LedgerChange("color", Words(2, ("teal", "blue")), n_rare=3, n_rare_rows=1204),),
        "notes": (),
        "drift": _quiet(),
        "drift_of_new": None,
        "training": {"device": "cpu (1 threads)", "epochs": "3"},
        "data_digest": "ab" * 32,
        "links": {"run": "http://127.0.0.1:5000/#/x"},
    }
    return DecisionRecord(**{**values, **changes})


def _rows_of_table(page: str, heading: str) -> list[list[str]]:
    section = page.split(f"## {heading}\n\n", maxsplit=1)[1].split("\n\n", maxsplit=1)[0]
    lines = section.splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_page_says_what_was_decided_and_shows_both_models_and_the_baselines() -> None:
    page = _record().to_markdown()

    rows = _rows_of_table(page, "On the test rows")
    assert page.startswith("# toy: the new model is the champion\n")
    assert "**promoted** (version 4): macro_f1 0.91 is not worse." in page
    assert [row[:5] for row in rows] == [
        ["**new model**", "0.9100", "0.9500", "0.2000", "–"],
        ["champion v3", "0.9000", "0.9400", "–", "–"],
        ["constant", "0.2000", "–", "–", "–"],
        ["boosting", "0.9000", "–", "–", "–"],
    ]
    assert [row[-1] for row in rows] == ["34.6", "–", "–", "1.2"]
    assert "- rows: train 1,200, val 260, test 268" in page
    assert _rows_of_table(page, "The categories") == [
        ["color", "2: 'teal', 'blue'", "", "", "3 in 1,204 rows"]
    ]
    assert "`abababababababab`" in page


@pytest.mark.parametrize("outcome", ["promoted", "kept", "rejected"])
def test_each_outcome_has_a_headline_of_its_own(outcome: Any) -> None:
    decision = Decision(outcome, "because", ())

    headline = _record(decision=decision).to_markdown().splitlines()[0]

    said = {
        "promoted": "the new model is the champion",
        "kept": "the champion stays",
        "rejected": "the new model was rejected",
    }
    assert headline == f"# toy: {said[outcome]}"


@pytest.mark.parametrize("task", METRICS)
def test_the_page_has_a_column_for_every_metric_of_the_task_the_primary_one_in_bold(
    task: Task,
) -> None:
    primary = METRICS[task][1]

    page = _record(task=task, primary=primary).to_markdown()

    head = page.split("## On the test rows\n\n| ", maxsplit=1)[1].splitlines()[0]
    names = [cell.strip() for cell in head.strip("|").split("|")][1:]
    named = [f"**{m}**" if m == primary else m for m in METRICS[task]]
    assert names == [*named, "training, s"]


def test_without_champion_classes_or_changed_categories_nothing_is_invented() -> None:
    page = _record(champion=None, classes=(), changes=(), version="").to_markdown()

    assert "champion v" not in page
    assert "Class by class" not in page
    assert "- categories: unchanged since the last run" in page
    assert "The categories" not in page
    assert "(version" not in page


def test_a_champion_without_scores_has_a_row_of_dashes() -> None:
    page = _record(champion=ChampionScores("3", None, "gone")).to_markdown()

    dashes = ["–" for _ in (*METRICS["multiclass"], "training, s")]
    assert ["champion v3", *dashes] in _rows_of_table(page, "On the test rows")


def test_what_has_to_be_known_of_the_scores_stands_below_them() -> None:
    page = _record(result_notes=("a sample <of> rows",)).to_markdown()

    section = page.split("## On the test rows\n\n", maxsplit=1)[1].split("\n\n## ", maxsplit=1)[0]
    assert section.endswith(f"|\n\n- {escape('a sample <of> rows')}")


@pytest.mark.parametrize(
    "name", ["a|b", "<script>x</script>", "**bold** | <b>", "[x](http://e)", "two\nlines", "`a`"]
)
def test_a_class_with_markdown_in_its_name_is_one_cell_that_shows_it(name: str) -> None:
    page = _record(classes=(ClassRow(name, 0.9, 0.8, 0.85, 70),)).to_markdown()

    (row,) = _rows_of_table(page, "Class by class")
    assert row == [escape(name), "0.900", "0.800", "0.850", "70"]
    assert "<script>" not in page
    assert "<b>" not in page


@pytest.mark.parametrize("name", ["a|b", "<script>x</script>", "[x](http://e)"])
def test_a_column_or_reason_or_source_with_markdown_is_shown_as_it_is(name: str) -> None:
    decision = Decision("rejected", f"saw {name}", (Check("finite", False, name),))

    change = LedgerChange(name, quiet=Words(1, (name,)))
    page = _record(decision=decision, changes=(change,), source=name).to_markdown()

    assert name not in page
    assert page.count(escape(name)) == 5


def test_four_hundred_columns_with_changes_make_a_table_of_thirty() -> None:
    changes = [LedgerChange(f"c{i}", back=Words(1, ("teal",))) for i in range(400)]

    page = _record(changes=changes).to_markdown()

    rows = _rows_of_table(page, "The categories")
    assert len(rows) == 30
    assert rows[0] == ["c0", "", "", "1: 'teal'", ""]
    assert "… and 370 more columns" in page


def test_four_hundred_classes_make_a_table_of_thirty() -> None:
    classes = tuple(ClassRow(f"c{i}", 0.9, 0.8, 0.85, 70) for i in range(400))

    page = _record(classes=classes).to_markdown()

    assert len(_rows_of_table(page, "Class by class")) == 30
    assert "… and 370 more classes" in page


@given(st.text())
def test_escaped_text_has_no_sign_that_markdown_obeys(text: str) -> None:
    escaped = escape(text)

    assert "\n" not in escaped
    assert "<" not in escaped
    assert ">" not in escaped
    bare = escaped.replace("\\\\", "")
    for sign in "|`*[]":
        assert bare.count(sign) == bare.count(f"\\{sign}")


def test_a_class_that_no_test_row_has_is_not_shown_as_missed() -> None:
    page = _record(
        classes=(ClassRow("a", 0.9, 0.8, 0.85, 70), ClassRow("c", 0, 0, 0, 0))
    ).to_markdown()

    assert _rows_of_table(page, "Class by class") == [
        ["a", "0.900", "0.800", "0.850", "70"],
        ["c", "0.000", "–", "–", "0"],
    ]


@pytest.mark.parametrize(("n_columns", "more"), [(1, ""), (3, " (and 2 more)")])
def test_the_reason_of_a_stopped_night_names_the_first_broken_rule(
    n_columns: int, more: str
) -> None:
    broken = [Violation(f"x{n}", "nullable", 3, "3 rows have no value") for n in range(n_columns)]
    record = FailureRecord("toy", "stopped", ContractError(broken, source="toy.csv"), None, {})

    assert record.summary == f"contract broken by toy.csv: column 'x0': 3 rows have no value{more}"
    assert record.to_markdown().count("column 'x0'") == 1


def test_the_page_shows_how_sure_the_model_is_beside_how_often_it_was_right() -> None:
    bins = (ReliabilityBin(0.6, 0.5, 30, 0.25), ReliabilityBin(0.9, 0.9, 90, 0.75))
    sure = replace(_record().result, reliability=Reliability(bins))

    page = replace(_record(), result=sure).to_markdown()

    assert _rows_of_table(page, "How sure it is") == [
        ["0.600", "0.500", "30"],
        ["0.900", "0.900", "90"],
    ]
    assert "Calibration error 0.025" in page
    assert "## How sure it is" not in _record().to_markdown()
