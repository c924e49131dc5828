"""Tasks as plain functions: what they hand on, without a flow around them."""

import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from prefect.logging import disable_run_logger

from pipeline_lib.config import PipelineConfig, load_config
from pipeline_lib.data.car_evaluation import car_evaluation
from pipeline_lib.data.snapshots.snapshot import take_snapshot
from pipeline_lib.data.sources.stream import RowStream
from pipeline_lib.errors import ContractError, VolumeError
from pipeline_lib.evaluation.journal import read_journal
from pipeline_lib.home import find_home
from pipeline_lib.monitoring.history import read_last_night
from pipeline_lib.monitoring.validate import Validated
from tasks.encode import encode
from tasks.ingest import ingest
from tasks.report_failure import report_failure
from tasks.split import split
from tasks.train import train
from tasks.validate import validate

DAY = date(2026, 1, 1)
AUTO = """\
name: auto
data:
  source: {kind: builtin, table: car_evaluation}
  target: output
  task: multiclass
columns:
  safety: {kind: category}
  persons: {kind: category}
  price: {kind: category}
model: {kind: auto}
"""


@pytest.fixture
def config() -> Iterator[PipelineConfig]:
    """The default config, with Prefect's run logger out of the way."""
    with disable_run_logger():
        yield load_config("configs/car_evaluation.yaml")


def test_what_a_task_hands_on_is_small_and_names_files(config: PipelineConfig) -> None:
    snapshot = ingest.fn(config, find_home(), DAY)
    rows = split.fn(config, validate.fn(config, snapshot, DAY).rows)

    encoded = encode.fn(config, rows, DAY)

    assert (snapshot.folder / "rows.parquet").is_file()
    assert sum(rows.n_rows.values()) == snapshot.n_rows == 1728
    assert (encoded.folder / "train.parquet").is_file()
    assert encoded.read("train").n_rows == rows.n_rows["train"]


def test_ingesting_the_same_rows_twice_keeps_one_snapshot(config: PipelineConfig) -> None:
    first = ingest.fn(config, find_home(), DAY)
    written = (first.folder / "rows.parquet").stat().st_mtime_ns

    second = ingest.fn(config, find_home(), DAY)

    assert second == first
    assert (second.folder / "rows.parquet").stat().st_mtime_ns == written


def test_codes_keep_their_meaning_when_a_category_comes_late(config: PipelineConfig) -> None:
    table = car_evaluation()
    without_high = table.filter(pc.not_equal(table["safety"], "high"))
    first = take_snapshot(
        find_home().dataset(config.name), RowStream.of(without_high, source="the first night")
    )
    rows = split.fn(config, validate.fn(config, first, DAY).rows)
    before = encode.fn(config, rows, DAY).read_encoder().vocabularies["safety"]

    again = split.fn(config, validate.fn(config, ingest.fn(config, find_home(), DAY), DAY).rows)
    after = encode.fn(config, again, DAY).read_encoder().vocabularies["safety"]

    assert before.categories.to_pylist() == ["low", "med"]
    assert after.categories.to_pylist() == ["low", "med", "high"]


def test_validate_stops_when_the_contract_is_broken(config: PipelineConfig) -> None:
    strict = config.columns["safety"].model_copy(update={"allowed": ("low",)})
    broken = config.model_copy(update={"columns": {**config.columns, "safety": strict}})

    with pytest.raises(ContractError, match="1,152 rows hold"):
        validate.fn(broken, ingest.fn(broken, find_home(), DAY), DAY)


def test_a_checkpoint_belongs_to_the_codes_it_was_trained_on(config: PipelineConfig) -> None:
    from pipeline_lib.tracking.runs import TrackedRun, start_run

    config = load_config(
        "configs/car_evaluation.yaml", assignments=["training.epochs=2", "model.d_hidden=[8]"]
    )
    table = car_evaluation()
    without_high = table.filter(pc.not_equal(table["safety"], "high"))
    first = take_snapshot(
        find_home().dataset(config.name), RowStream.of(without_high, source="the first night")
    )
    encode.fn(config, split.fn(config, validate.fn(config, first, DAY).rows), DAY)
    snapshot = ingest.fn(config, find_home(), DAY)
    rows = split.fn(config, validate.fn(config, snapshot, DAY).rows)
    resumed: list[str | None] = []

    def live() -> None:
        encoded = encode.fn(config, rows, DAY)
        with start_run(config, find_home(), snapshot, run_key="k", run_name="n", tags={}) as run:
            train.fn(config, rows, encoded, run)
        tracked = TrackedRun.of(run)
        resumed.append(tracked.client.get_run(run.run_id).data.tags.get("resumed_at"))

    live()
    live()
    shutil.rmtree(
        find_home().dataset(config.name).ledger
    )  # as its message says where it is damaged
    live()

    assert resumed == [None, "the end, epoch 2", None]


def test_a_model_without_epochs_is_recorded_with_its_figures_and_without_curves(
    config: PipelineConfig,
) -> None:
    from pipeline_lib.serving import load_model
    from pipeline_lib.tracking.runs import TrackedRun, start_run

    changed = ["model.kind=linear", "training.start_from=champion"]
    config = load_config("configs/car_evaluation.yaml", assignments=changed)
    snapshot = ingest.fn(config, find_home(), DAY)
    rows = split.fn(config, validate.fn(config, snapshot, DAY).rows)
    encoded = encode.fn(config, rows, DAY)

    with start_run(config, find_home(), snapshot, run_key="k", run_name="n", tags={}) as run:
        trained = train.fn(config, rows, encoded, run)

    tracked = TrackedRun.of(run)
    metrics = tracked.client.get_run(run.run_id).data.metrics
    files = {file.path for file in tracked.client.list_artifacts(run.run_id)}
    assert 0 < metrics["best/train_loss"] < metrics["best/val_loss"] < 0.5
    assert 0.5 < metrics["best/macro_f1"] < 1
    assert not {"best/epoch", "val/loss", "learning_rate"} & metrics.keys()
    assert not {file for file in files if "losses" in file}
    assert trained.facts["first weights"] == "fresh, for there is no champion yet"
    assert "passes over the rows" in trained.facts["fit"]
    assert load_model(trained.model_folder).kind.name == "linear"


def test_what_auto_chose_is_logged_as_parameters_and_as_a_config_of_its_own(
    config: PipelineConfig, tmp_path: Path
) -> None:
    from pipeline_lib.tracking.runs import TrackedRun, start_run

    (tmp_path / "auto.yaml").write_text(AUTO, encoding="utf-8")
    config = load_config(tmp_path / "auto.yaml", assignments=["training.epochs=2"])
    snapshot = ingest.fn(config, find_home(), DAY)
    rows = split.fn(config, validate.fn(config, snapshot, DAY).rows)
    encoded = encode.fn(config, rows, DAY)

    with start_run(config, find_home(), snapshot, run_key="k", run_name="n", tags={}) as run:
        trained = train.fn(config, rows, encoded, run)

    tracked = TrackedRun.of(run)
    params = tracked.client.get_run(run.run_id).data.params
    tracked.client.download_artifacts(run.run_id, "chosen.yaml", str(tmp_path))
    chosen = load_config(tmp_path / "chosen.yaml")
    assert params["model.kind"] == "auto"
    assert params["training.epochs"] == "2"
    assert params["training.optimizer.kind"] == "adamw"
    assert params["model.members.0.kind"] == "boosting"
    assert chosen.model.kind == "blend"
    assert chosen.training.ema_decay is not None
    assert trained.facts["model"].startswith("blend")
    assert "boosting: learning_rate 0.03" in trained.facts["chosen by auto"]


def _night(config: PipelineConfig, n_rows: int, source: str) -> Validated:
    # The first rows of the table in another order: each class and each word is there early.
    order = np.random.default_rng(0).permutation(1728)[:n_rows]
    rows = car_evaluation().take(order)
    last = read_last_night(find_home().dataset(config.name))
    snapshot = take_snapshot(
        find_home().dataset(config.name), RowStream.of(rows, source=source), last=last
    )
    return validate.fn(config, snapshot, DAY)


def test_a_night_of_far_fewer_rows_stops_and_stops_again(config: PipelineConfig) -> None:
    _night(config, 1700, "monday.csv")

    said = r"tuesday.csv has 800 rows, 53% fewer than the 1,700 rows of 2026-01-01 \(monday.csv\)"
    for _ in range(2):
        with pytest.raises(VolumeError, match=said):
            _night(config, 800, "tuesday.csv")

    assert _night(config, 850, "wednesday.csv").growth is None


def test_growth_is_said_once_among_the_notes(config: PipelineConfig) -> None:
    for n_rows in (400, 401, 402, 403):
        _night(config, n_rows, "small.csv")

    grown = _night(config, 1700, "large.csv")

    (said,) = [note for note in grown.notes() if "large.csv has 1,700 rows" in note]
    assert "`validation.volume.max_growth: 3`" in said
    assert not any(row.aspect == "volume" for row in grown.watched.rows.rows)


def test_a_category_that_no_night_before_had_is_said(config: PipelineConfig) -> None:
    table = car_evaluation()
    old = table.filter(pc.not_equal(table["doors"], "5more"))
    first = take_snapshot(
        find_home().dataset(config.name), RowStream.of(old, source="the first night")
    )
    rows = validate.fn(config, first, DAY)
    encode.fn(config, split.fn(config, rows.rows), DAY)

    current = validate.fn(config, ingest.fn(config, find_home(), DAY), DAY)

    assert not any("values that are new" in note for note in rows.notes())
    assert "column 'doors': values that are new: '5more' (432 rows)" in current.notes()


def test_a_night_that_fails_while_mlflow_is_away_leaves_its_page_and_a_line(
    config: PipelineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")

    report_failure(
        config,
        find_home().dataset(config.name),
        RuntimeError("no luck"),
        snapshot=None,
        run=None,
        run_name="n",
        tags={},
        links={},
    )

    [entry] = read_journal(find_home().dataset(config.name))
    assert (entry.decision, entry.reason) == ("failed", "RuntimeError: no luck")
    page = find_home().run(f"{config.name}-without-rows").folder / "report.md"
    assert "RuntimeError: no luck" in page.read_text()
