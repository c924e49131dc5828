"""Every kind of model of the union lives through the same: a new one is tested without a line."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from pipeline_lib import fit, load_model
from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.models import KindSettings
from pipeline_lib.config.settings import Settings
from pipeline_lib.data.splits.split_rows import typed_to_split
from pipeline_lib.encoding import EncodedSplit
from pipeline_lib.fitting import TrainingSession, split_rows, start_on_rows
from pipeline_lib.models import BlendKind, EstimatorKind, NetworkKind, model_kind
from pipeline_lib.training.keeper import Keeper
from pipeline_lib.training.records import Progress
from tests.unit.encoding.in_memory import write_split

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]

SETTINGS: tuple[type[Settings], ...] = get_args(get_args(KindSettings)[0])
KINDS = [str(cls.model_fields["kind"].default) for cls in SETTINGS]
# An extra: what follows skips it where it is not installed.
IS_ABSENT = {"catboost": find_spec("catboost") is None}
TRAINABLE = [kind for kind in KINDS if not IS_ABSENT.get(kind)]
PARAMS = [
    pytest.param(
        kind,
        marks=pytest.mark.skipif(
            IS_ABSENT.get(kind, False), reason=f"the extra `{kind}` is not installed"
        ),
    )
    for kind in KINDS
]
TASKS = ("binary", "multiclass", "regression")
_PREDICT = """
import sys, pandas as pd
from pipeline_lib import load_model
for task in sys.argv[1:]:
    load_model(task).predict(pd.read_parquet("rows.parquet")).to_parquet(f"{task}.parquet")
assert not {"torch._dynamo", "pipeline_lib.training.loop"} & {*sys.modules}
"""


class _Interrupted(BaseException):
    """What a signal raises."""


@pytest.fixture(scope="module", params=PARAMS)
def make(request: pytest.FixtureRequest, table_config: MakeConfig) -> MakeConfig:
    """Return a factory of configs whose model is of one kind, with its default settings."""

    def config(**sections: Any) -> PipelineConfig:
        made = table_config(**sections)
        tree = {**made.model_dump(mode="json"), "model": {"kind": request.param}}
        return PipelineConfig.model_validate(tree)

    return config


def _rows(n_rows: int) -> pd.DataFrame:
    random = np.random.default_rng(5)
    colors = random.choice(["red", "green", "blue", "teal", "never seen"], n_rows)
    return pd.DataFrame({"color": colors, "size": random.normal(20.0, 5.0, n_rows)})


def _weights(folder: Path) -> dict[str, bytes]:
    files = [p for p in folder.rglob("*") if p.is_file()]
    kept = [p for p in files if p.name not in {"manifest.json", "encoder.json"}]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in kept}


@pytest.mark.parametrize("task", TASKS)
def test_no_rows_give_no_predictions(make: MakeConfig, toy_table: MakeTable, task: str) -> None:
    model = fit(make(data={"task": task}), toy_table(200, task=task))
    rows = _rows(40)

    for nothing in (rows.head(0), [], pa.Table.from_pandas(rows).slice(0, 0)):
        predicted = model.predict(nothing)

        assert len(predicted) == 0
        pd.testing.assert_index_equal(predicted.columns, model.predict(rows).columns)


def test_a_saved_model_answers_in_a_clean_process_as_it_did(
    make: MakeConfig, toy_table: MakeTable, tmp_path: Path
) -> None:
    rows, expected = _rows(40), dict[str, pd.DataFrame]()
    rows.to_parquet(tmp_path / "rows.parquet")
    for task in TASKS:
        model = fit(make(data={"task": task}), toy_table(200, task=task))
        expected[task] = model.predict(rows)
        model.save(tmp_path / task)

    subprocess.run([sys.executable, "-P", "-c", _PREDICT, *TASKS], check=True, cwd=tmp_path)

    pickled = (b"\x80", b"PK")  # pickle from protocol 2 on; torch's zip
    for task, frame in expected.items():
        answered = pd.read_parquet(tmp_path / f"{task}.parquet")
        pd.testing.assert_frame_equal(answered, frame, check_exact=True)
        assert not any(data.startswith(pickled) for data in _weights(tmp_path / task).values())
        if task == "regression":
            assert np.isfinite(frame["prediction"]).all()
        else:
            np.testing.assert_allclose(frame.filter(like="probability").sum(axis=1), 1.0)


@pytest.mark.parametrize("task", TASKS)
def test_a_model_knows_more_than_a_constant(
    make: MakeConfig, toy_table: MakeTable, task: str
) -> None:
    table, config = toy_table(2000, task=task), make(data={"task": task}, training={"epochs": 15})
    _, _, test = split_rows(table, config)

    predicted = fit(config, table).predict(test)["prediction"].to_numpy()

    truth = test["label"].to_numpy(zero_copy_only=False)
    if task == "regression":
        assert np.mean((predicted - truth) ** 2) < 0.5 * truth.var()
    else:
        most = max(np.mean(truth == label) for label in set(truth))
        assert np.mean(predicted == truth) > most + 0.1


def test_the_same_rows_and_seed_give_the_same_files(
    make: MakeConfig, toy_table: MakeTable, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        fit(make(), toy_table(200)).save(tmp_path / name)

    assert _weights(tmp_path / "one") == _weights(tmp_path / "two")


def test_rows_that_are_streamed_give_the_model_of_rows_in_memory(
    make: MakeConfig, toy_table: MakeTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, table = make(), toy_table(200)
    held = start_on_rows(config, table)
    parts = split_rows(typed_to_split(table, config), config)
    for name, rows in zip(("train", "val"), parts, strict=False):
        split = EncodedSplit.of(rows, held.encoder, held.target)
        write_split(tmp_path / name, split, held.encoder, held.target)
    monkeypatch.setattr("pipeline_lib.fitting.session.memory_budget", lambda _: 0)
    streamed = TrainingSession.start(
        config, held.encoder, held.target, tmp_path / "train", tmp_path / "val"
    )

    for session, name in ((held, "held"), (streamed, "streamed")):
        list(session.epochs())
        session.fitted().save(tmp_path / name)

    assert streamed.is_streamed
    assert _weights(tmp_path / "held") == _weights(tmp_path / "streamed")


def test_a_champion_of_the_kind_is_started_from_or_it_is_said_why_not(
    make: MakeConfig, toy_table: MakeTable
) -> None:
    table, config = toy_table(200), make(training={"start_from": "champion"})
    champion = fit(config, table)

    session = start_on_rows(config, table, champion=champion)
    list(session.epochs())

    assert (session.training.carried is None) is bool(session.obstacle)
    assert session.fitted().predict(_rows(9)).notna().all().all()


def test_a_champion_of_any_other_kind_is_no_start(make: MakeConfig, toy_table: MakeTable) -> None:
    table, config = toy_table(200), make()

    for kind in (kind for kind in TRAINABLE if kind != config.model.kind):
        tree = {**config.model_dump(mode="json"), "model": {"kind": kind}}
        champion = fit(PipelineConfig.model_validate(tree), table)
        session = start_on_rows(config, table, champion=champion)

        assert session.obstacle
        assert session.training.carried is None


def _interrupted(session: TrainingSession, keeper: Keeper, *, unit: str) -> None:
    """Train until a checkpoint is there, and an epoch or else a pass over the rows has ended."""

    def on_pulse(now: Progress) -> None:
        keeper.save_if_due()
        if now.epoch > 1 and now.unit == unit:
            raise _Interrupted

    with suppress(_Interrupted), keeper:
        for _ in session.epochs(on_pulse):
            pass
        pytest.fail("it was not interrupted")


def test_an_interrupted_training_gives_the_model_of_one_that_was_not(
    make: MakeConfig, toy_table: MakeTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("training.loop", "fitting.in_one_call"):
        monkeypatch.setattr(f"pipeline_lib.{module}._PULSE_S", 0.0)
    config, table = make(training={"epochs": 4}), toy_table(200)
    whole = start_on_rows(config, table)
    list(whole.epochs())
    whole.fitted().save(tmp_path / "whole")

    first = start_on_rows(config, table)
    place = tmp_path / "run"
    place.mkdir()
    unit = "epoch" if whole.training.history else "pass"
    keeper = Keeper(first.training.resumable, place, key="k", every_s=0.001)
    _interrupted(first, keeper, unit=unit)
    again = start_on_rows(config, table)
    keeper = Keeper(again.training.resumable, place, key="k", every_s=0.001)
    records = list(again.epochs())
    again.fitted().save(tmp_path / "again")

    assert _weights(tmp_path / "again") == _weights(tmp_path / "whole")
    assert bool(keeper.resumed_at) is (whole.training.resumable is not None)
    assert len(records) < 4  # those of epochs that were not trained again


def test_a_session_of_the_kind_says_how_it_went(make: MakeConfig, toy_table: MakeTable) -> None:
    session = start_on_rows(make(), toy_table(200))

    list(session.epochs())

    facts, figures = session.facts(), session.best_metrics()
    assert facts["model"].startswith(f"{session.config.model.kind}, ")
    assert figures["best/val_loss"] > 0
    assert 0 <= figures["best/macro_f1"] <= 1
    assert figures["rows_per_s"] > 0
    assert session.training.plan
    assert all(f"val loss {figures['best/val_loss']:.4f}" in line for _, line in _closing(session))


def _closing(session: TrainingSession) -> Iterator[tuple[int, str]]:
    lines = session.closing_lines()
    assert lines
    yield from lines


@pytest.mark.parametrize("cls", SETTINGS, ids=KINDS)
def test_a_kind_knows_its_name_and_is_one_of_the_ways_of_learning(cls: type[Any]) -> None:
    kind = model_kind(cls())

    assert kind.name == cls().kind
    assert isinstance(kind, NetworkKind | EstimatorKind | BlendKind)
    assert kind.settings == cls()


def test_loading_leaves_torchs_random_state_as_it_was(
    make: MakeConfig, toy_table: MakeTable, tmp_path: Path
) -> None:
    fit(make(), toy_table(200)).save(tmp_path / "model")
    torch.manual_seed(3)
    before = torch.get_rng_state()

    load_model(tmp_path / "model")

    assert torch.equal(torch.get_rng_state(), before)


def test_weights_of_another_shape_are_refused(
    make: MakeConfig, toy_table: MakeTable, tmp_path: Path
) -> None:
    model = fit(make(), toy_table(200))
    if isinstance(model.kind, BlendKind) or "model.safetensors" not in model.kind.files:
        pytest.skip("its weights are in a format of its own")
    folder = tmp_path / "files"
    folder.mkdir()
    spec = {"version": 2, **model.model.save(folder)}
    from safetensors.torch import save_file

    from pipeline_lib.models import Dimensions

    weights = load_file(folder / "model.safetensors")
    name = max(weights, key=lambda key: weights[key].numel())
    save_file({**weights, name: weights[name][:-1].clone()}, folder / "model.safetensors")

    with pytest.raises(Exception, match=r"shape|size"):
        model.kind.load(folder, spec, Dimensions.of(model.encoder, model.target))
