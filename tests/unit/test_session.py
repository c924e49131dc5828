"""A training session: what it says, where its rows lie, and from which weights it starts."""

import gc
import re
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from pipeline_lib import fit
from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.splits.split_rows import typed_to_split
from pipeline_lib.encoding import EncodedSplit
from pipeline_lib.encoding.tensors import SplitFile
from pipeline_lib.fitting import TrainingSession, split_rows, start_on_rows
from pipeline_lib.training.records import Progress
from pipeline_lib.training.rows import TensorSplit
from tests.unit.encoding.in_memory import write_split

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]


def test_a_session_says_how_it_went(table_config: MakeConfig, toy_table: MakeTable) -> None:
    config = table_config(training={"epochs": 4})
    session = start_on_rows(config, toy_table(200))

    history = list(session.epochs())
    facts, figures = session.facts(), session.best_metrics()

    best = min(history, key=lambda record: record.val_loss)
    n_weights = sum(p.numel() for p in session.fitted().networks[0].parameters())
    assert session.progress(history[0]).startswith("epoch 1/4  train loss ")
    assert facts["model"] == f"embedding_mlp, {n_weights:,} weights"
    assert f"the best was {best.epoch}" in facts["epochs"]
    assert figures["best/epoch"] == best.epoch
    assert figures["best/val_loss"] == best.val_loss
    assert figures["best/macro_f1"] == best.primary
    assert figures["rows_per_s"] > 0


@pytest.mark.parametrize("monitor", ["loss", "primary"])
def test_a_session_says_beforehand_that_the_primary_metric_will_have_no_value(
    table_config: MakeConfig, toy_table: MakeTable, monitor: str
) -> None:
    config = table_config(
        data={"task": "binary"},
        evaluation={"primary": "roc_auc"},
        training={"epochs": 4, "monitor": monitor},
    )
    rows = typed_to_split(toy_table(200, task="binary"), config)
    val = split_rows(rows, config)[1]["size"].to_pylist()
    labels = [
        "no" if size in val else label
        for size, label in zip(rows["size"].to_pylist(), rows["label"].to_pylist(), strict=True)
    ]
    position = rows.column_names.index("label")
    session = start_on_rows(config, rows.set_column(position, "label", pa.array(labels)))

    before = session.notes_before()
    history = list(session.epochs())

    note = "roc_auc is not defined on the validation rows: they hold 1 of 2 classes"
    best = "; the best epoch is the one with the lowest loss" if monitor == "primary" else ""
    assert before == session.notes_after() == (note + best,)
    lowest = min(history, key=lambda record: record.val_loss)
    assert session.training.best == (lowest,)
    assert session.progress(history[0]).endswith("val roc_auc undefined")
    assert session.facts()["validation"].endswith("roc_auc undefined")
    assert "best/roc_auc" not in session.best_metrics()


def test_a_session_whose_metric_is_defined_has_nothing_to_say_of_it(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config(evaluation={"primary": "roc_auc"}, training={"epochs": 1})
    session = start_on_rows(config, toy_table(200))

    list(session.epochs())

    assert session.notes_before() == session.notes_after() == ()
    assert "best/roc_auc" in session.best_metrics()


@pytest.mark.parametrize(
    ("training", "plan"),
    [
        ({"batch_size": 64}, "4 epochs of 3 steps of 64 rows"),
        ({"batch_size": 64, "n_members": 2}, "2 members of 4 epochs of 3 steps of 64 rows"),
        ({"batch_size": "full"}, "4 epochs of 1 step of all 144 rows"),
        ({"batch_size": 5000}, "4 epochs of 1 step of all 144 rows (batch_size is 5,000)"),
    ],
)
def test_a_session_says_what_it_is_about_to_do(
    table_config: MakeConfig, toy_table: MakeTable, training: dict[str, Any], plan: str
) -> None:
    config = table_config(training={"epochs": 4, **training})

    session = start_on_rows(config, toy_table(200))

    assert session.training.plan == plan


@pytest.mark.parametrize(
    ("train_fits", "val_fits"), [(True, True), (True, False), (False, True), (False, False)]
)
def test_rows_that_do_not_fit_stay_on_the_disk_with_the_same_result(
    table_config: MakeConfig,
    toy_table: MakeTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    train_fits: bool,
    val_fits: bool,
) -> None:
    config = table_config(training={"epochs": 3})
    held = start_on_rows(config, toy_table(200))
    expected = [record.val_loss for record in held.epochs()]
    train, val, _ = split_rows(typed_to_split(toy_table(200), config), config)
    files = {"train": train, "val": val}
    splits = {
        name: EncodedSplit.of(rows, held.encoder, held.target) for name, rows in files.items()
    }
    for name, split in splits.items():
        write_split(tmp_path / name, split, held.encoder, held.target)
    sizes = {name: SplitFile(tmp_path / name, held.encoder).size_bytes for name in files}
    budget = sizes["train"] * train_fits + sizes["val"] * val_fits
    monkeypatch.setattr("pipeline_lib.fitting.session.memory_budget", lambda _: budget)

    session = TrainingSession.start(
        config, held.encoder, held.target, tmp_path / "train", tmp_path / "val"
    )

    assert [record.val_loss for record in session.epochs()] == expected
    assert session.is_streamed is not train_fits
    assert isinstance(session.given.val, TensorSplit) is val_fits
    assert ("rows streamed" in session.facts()["device"]) is not train_fits


def test_a_training_from_the_champion_starts_where_the_champion_ended(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = toy_table(400)
    cold = start_on_rows(table_config(training={"epochs": 40}), table)
    list(cold.epochs())

    whole = {"start_from": "champion", "warm_share": 1.0}
    config = table_config(training={"epochs": 40, **whole})
    warm = start_on_rows(config, table, champion=cold.fitted())
    first, *_ = history = list(warm.epochs())

    assert len(history) == 10
    assert first.val_loss < cold.training.history[9].val_loss
    assert first.val_loss == pytest.approx(cold.training.best[0].val_loss, rel=0.5)


def test_a_champion_is_forgotten_once_every_member_has_begun(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    champion = fit(table_config(), toy_table(200))
    config = table_config(training={"n_members": 2, "start_from": "champion", "warm_epochs": 1})
    session = start_on_rows(config, toy_table(200), champion=champion)
    network = weakref.ref(champion.networks[0])
    del champion

    held: list[bool] = []
    for _ in session.epochs():
        gc.collect()
        held.append(network() is not None)

    assert held == [True, False]


def test_members_start_from_the_champions_members_in_turn(
    table_config: MakeConfig, toy_table: MakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = toy_table(200)
    champion = fit(table_config(training={"n_members": 2}), table)

    whole = {"start_from": "champion", "warm_share": 1.0}
    config = table_config(training={"n_members": 3, "warm_epochs": 1, **whole})
    session = start_on_rows(config, table, champion=champion)
    starts: list[torch.Tensor] = []

    def note_the_start(now: Progress) -> None:
        if now.member > len(starts):
            starts.append(session.training.network.head.weight.detach().clone())

    monkeypatch.setattr("pipeline_lib.training.loop._PULSE_S", 0.0)
    list(session.epochs(note_the_start))

    # a step of Adam moves a weight by the learning rate, 0.01
    for start, number in zip(starts, (0, 1, 0), strict=True):
        assert (start - champion.networks[number].head.weight).abs().max() < 0.011
        assert (start - champion.networks[1 - number].head.weight).abs().max() > 0.05
    assert len(session.fitted().networks) == 3


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"model": {"d_hidden": [9]}}, r"its network has d_hidden \[8\], the config \[9\]"),
        ({"model": {"d_embedding_max": 7}}, "its network has d_embedding_max 50, the config 7"),
        (
            {"data": {"target": "color"}, "columns": {"size": {"kind": "number"}}},
            r"it predicts 'label' \(multiclass\), not 'color' \(multiclass\)",
        ),
        (
            {
                "columns": {
                    "color": {"kind": "hash", "n_buckets": 8},
                    "size": {"kind": "number", "nullable": True},
                }
            },
            "it shares no column with the config",
        ),
    ],
)
def test_a_champion_that_does_not_fit_is_told_and_the_weights_are_fresh(
    table_config: MakeConfig, toy_table: MakeTable, sections: dict[str, Any], told: str
) -> None:
    table = toy_table(200)
    champion = fit(table_config(), table)
    warm = {"training": {"start_from": "champion"}}

    session = start_on_rows(table_config(**sections, **warm), table, champion=champion)

    assert session.training.carried is None
    assert re.search(told, session.obstacle)
    fresh = start_on_rows(table_config(**sections), table)
    assert torch.equal(session.training.network.head.weight, fresh.training.network.head.weight)
    assert len(list(session.epochs())) == 3
