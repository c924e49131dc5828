"""The end of a run: what was decided is in the journal, whatever becomes of its page."""

from datetime import date
from pathlib import Path

import pytest
from prefect.logging import disable_run_logger

from pipeline_lib.config import load_config
from pipeline_lib.evaluation.gate import Decision
from pipeline_lib.evaluation.journal import JournalEntry, read_journal
from pipeline_lib.evaluation.report import DecisionRecord
from pipeline_lib.evaluation.results import EvaluationResult
from pipeline_lib.home import find_home
from pipeline_lib.monitoring.drift_report import DriftReport, NightRecord
from pipeline_lib.tracking.reference import RunReference
from tasks.report import report


def _promoted() -> DecisionRecord:
    night = NightRecord(date(2026, 1, 1), 20, "", {}, ())
    return DecisionRecord(
        name="car_evaluation",
        task="multiclass",
        primary="macro_f1",
        decision=Decision("promoted", "better", ()),
        result=EvaluationResult(
            {"macro_f1": 0.9}, {}, finite=True, constant=False, classes=(), predictions=Path("x")
        ),
        champion=None,
        version="2",
        source="cars",
        n_rows={"train": 10, "val": 5, "test": 5},
        changes=(),
        notes=(),
        drift=DriftReport(has_reference=False, n_rows_before=0, n_rows=20, rows=(), record=night),
        drift_of_new=None,
        training={},
        data_digest="d",
        links={},
    )


@pytest.mark.parametrize("checkpoint_is_a_folder", [False, True])
def test_a_page_that_cannot_be_written_leaves_the_decision_as_it_was_carried_out(
    monkeypatch: pytest.MonkeyPatch, *, checkpoint_is_a_folder: bool
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    home = find_home()
    files = home.run("key")
    entry = JournalEntry("2026-01-01T02:00:00Z", "promoted", "better", "2", "key", "r", "d", "c")
    (files.report).mkdir(parents=True)
    if checkpoint_is_a_folder:
        (files.folder / "checkpoint.pt").mkdir()

    with disable_run_logger():
        page = report.fn(
            load_config("configs/car_evaluation.yaml"),
            _promoted(),
            entry,
            RunReference("r", "1", "key", 0, "", home),
        )

    assert page == files.report
    assert read_journal(home.dataset("car_evaluation")) == (entry,)
