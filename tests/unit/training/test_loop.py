"""The loop: what an epoch reports, what is best, when it stops, and what it never does."""

import copy
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from pipeline_lib.config.data import Task
from pipeline_lib.config.metrics import METRICS, Metric
from pipeline_lib.errors import TrainingError
from pipeline_lib.training.batches import batch_bounds
from pipeline_lib.training.checkpoint import load_checkpoint, save_checkpoint
from pipeline_lib.training.loop import TrainingLoop
from pipeline_lib.training.records import EpochRecord, improves, level_of
from pipeline_lib.training.rows import TensorSplit
from tests.unit.training.loops import toy_loop, toy_split

PROJECT = Path(__file__).resolve().parents[3]


def _loss(model: torch.nn.Module, split: TensorSplit, task: Task) -> float:
    with torch.no_grad():
        logits = model(split.x_cat, split.x_num)
    match task:
        case "multiclass":
            return float(functional.cross_entropy(logits, split.y))
        case "binary":
            y = split.y.float()
            return float(functional.binary_cross_entropy_with_logits(logits[:, 0], y))
        case _:
            return float(functional.mse_loss(logits[:, 0], split.y))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_network_learns_what_can_be_learned(task: Task) -> None:
    train, val = toy_split(300, task=task), toy_split(100, task=task, seed=1)
    loop = toy_loop(train, val, task=task, epochs=20, batch_size=64)

    records = list(loop.epochs())

    assert [record.epoch for record in records] == list(range(1, 21))
    assert records[-1].train_loss < records[0].train_loss / 2
    assert loop.best.val_loss < records[0].val_loss


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_training_loss_of_the_first_full_batch_is_torchs_own(task: Task) -> None:
    train = toy_split(50, task=task)
    loop = toy_loop(train, toy_split(20, task=task), task=task, batch_size="full", epochs=1)
    untouched = copy.deepcopy(loop.model).train()

    (record,) = loop.epochs()

    assert record.train_loss == pytest.approx(_loss(untouched, train, task), rel=1e-5)


def test_the_training_loss_weighs_every_row_alike_though_batches_differ_in_size() -> None:
    train = toy_split(40)
    # A learning rate near nothing leaves the weights, so that batches can be added up afterwards.
    loop = toy_loop(
        train,
        toy_split(20),
        batch_size=16,
        epochs=1,
        optimizer={"kind": "sgd", "learning_rate": 1e-30},
    )
    seen: list[tuple[int, float]] = []
    model, network = loop.model, copy.deepcopy(loop.model).train()

    def add_up(_: Any, inputs: tuple[torch.Tensor, ...], __: Any) -> None:
        if not model.training:
            return
        x_cat, x_num = inputs
        rows = [int((train.x_num == row).all(dim=1).nonzero()[0]) for row in x_num]
        batch = TensorSplit(x_cat, x_num, train.y[rows])
        seen.append((len(rows), _loss(network, batch, "multiclass")))

    model.register_forward_hook(add_up)
    (record,) = loop.epochs()

    assert [n_rows for n_rows, _ in seen] == [16, 16, 8]
    assert record.train_loss == pytest.approx(sum(n * loss for n, loss in seen) / 40, rel=1e-5)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("monitor", ["loss", "primary"])
def test_the_model_ends_with_the_weights_of_the_best_epoch(task: Task, monitor: str) -> None:
    train, val = toy_split(60, task=task), toy_split(40, task=task, seed=1)
    val.y.copy_(val.y.flip(0))  # labels that mean nothing: learning makes them worse
    loop = toy_loop(train, val, task=task, monitor=monitor, epochs=15)

    records = list(loop.epochs())

    assert loop.best.epoch < records[-1].epoch, "the last epoch is the best; nothing is shown"
    assert not loop.model.training
    assert _loss(loop.model, val, task) == pytest.approx(loop.best.val_loss, rel=1e-5)


@pytest.mark.parametrize(
    ("task", "primary", "best_of"),
    [
        ("multiclass", "macro_f1", max),
        ("multiclass", "log_loss", min),
        ("binary", "roc_auc", max),
        ("binary", "average_precision", max),
        ("multiclass", "brier", min),
        ("regression", "rmse", min),
        ("regression", "r2", max),
    ],
)
def test_monitoring_the_primary_metric_takes_its_best_epoch_and_the_first_of_equals(
    task: Task, primary: Metric, best_of: Any
) -> None:
    train, val = toy_split(60, task=task), toy_split(40, task=task, seed=1)
    loop = toy_loop(train, val, task=task, primary=primary, monitor="primary", epochs=12)

    records = list(loop.epochs())

    values = [record.primary for record in records if record.primary is not None]
    assert len(values) == 12
    assert loop.best.primary == best_of(values)
    assert loop.best.epoch == values.index(best_of(values)) + 1


def test_a_record_is_best_when_no_earlier_one_was_as_good() -> None:
    loop = toy_loop(toy_split(60), toy_split(40, seed=1), epochs=12)

    records = list(loop.epochs())

    for record in records:
        earlier = [r.val_loss for r in records if r.epoch < record.epoch]
        assert record.is_best is all(record.val_loss < loss for loss in earlier)


def test_early_stopping_stops_when_nothing_got_better_for_its_patience() -> None:
    stopping = {"patience": 3, "min_delta": 0.01}
    loop = toy_loop(
        toy_split(60),
        toy_split(40, seed=1),
        epochs=200,
        early_stopping=stopping,
        optimizer={"kind": "adam", "learning_rate": 0.5},
    )

    losses = [record.val_loss for record in loop.epochs()]

    level, since = float("inf"), 0
    for loss in losses:
        since = 0 if loss < level - 0.01 else since + 1
        level = loss if since == 0 else level
    assert since == 3
    assert len(losses) < 200


def test_early_stopping_restores_the_best_weights_too() -> None:
    val = toy_split(40, seed=1)
    loop = toy_loop(
        toy_split(60),
        val,
        epochs=200,
        early_stopping={"patience": 3},
        optimizer={"kind": "adam", "learning_rate": 0.5},
    )

    records = list(loop.epochs())

    assert loop.best.epoch == len(records) - 3
    assert _loss(loop.model, val, "multiclass") == pytest.approx(loop.best.val_loss, rel=1e-5)


def test_the_same_seed_gives_the_same_weights_to_the_bit_and_another_seed_does_not() -> None:
    def weights(seed: int) -> dict[str, torch.Tensor]:
        loop = toy_loop(toy_split(60), toy_split(20), dropout=0.3, seed=seed)
        torch.manual_seed(seed + 99)  # the loop must not look at torch's own state
        assert len(list(loop.epochs())) == 5
        return loop.model.state_dict()

    one, same, other = weights(7), weights(7), weights(8)

    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])


def test_training_leaves_torchs_random_state_as_it_was() -> None:
    loop = toy_loop(toy_split(60), toy_split(20), dropout=0.3)
    torch.manual_seed(5)
    before = torch.get_rng_state()

    for _ in loop.epochs():
        assert torch.equal(torch.get_rng_state(), before)

    assert torch.equal(torch.get_rng_state(), before)


def test_the_order_of_rows_and_the_dropout_of_an_epoch_follow_from_seed_and_epoch() -> None:
    train, val = toy_split(60), toy_split(20)
    straight = toy_loop(train, val, dropout=0.3, epochs=2)
    noisy = toy_loop(train, val, dropout=0.3, epochs=2)

    expected = [record.train_loss for record in straight.epochs()]
    losses: list[float] = []
    for record in noisy.epochs():
        losses.append(record.train_loss)
        torch.rand(1000)  # somebody else draws between two epochs

    assert losses == expected


@given(st.integers(2, 300), st.integers(2, 100) | st.just("full"))
def test_batches_cover_every_row_once_and_none_is_a_single_row(
    n_rows: int, batch_size: int | str
) -> None:
    bounds = batch_bounds(n_rows, batch_size)  # type: ignore[arg-type]

    assert [row for start, stop in bounds for row in range(start, stop)] == list(range(n_rows))
    sizes = [stop - start for start, stop in bounds]
    assert min(sizes) >= 2
    largest = n_rows if batch_size == "full" else batch_size
    assert max(sizes) <= int(largest) + 1


@pytest.mark.parametrize(
    ("n_rows", "batch_size"),
    [(17, 16), (33, 16), (10, 64), (16, 16), (50, "full"), (2, 2), (3, 2)],
    ids=["last-alone", "last-alone-of-3", "larger-than-data", "exact", "full", "two", "three"],
)
def test_every_row_is_seen_once_an_epoch_whatever_the_batch_size(
    n_rows: int, batch_size: int | str
) -> None:
    train = toy_split(n_rows)
    loop = toy_loop(train, toy_split(5), batch_size=batch_size, epochs=2)
    seen: Counter[tuple[float, ...]] = Counter()

    def count(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], _: Any) -> None:
        if module.training:
            assert len(inputs[1]) > 1
            seen.update(tuple(row) for row in inputs[1].tolist())

    loop.model.register_forward_hook(count)
    list(loop.epochs())

    assert seen == Counter({tuple(row): 2 for row in train.x_num.tolist()})


def test_rows_come_in_another_order_each_epoch() -> None:
    loop = toy_loop(toy_split(30), toy_split(5), batch_size="full", epochs=3)
    orders: list[tuple[float, ...]] = []

    def note(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], _: Any) -> None:
        if module.training:
            orders.append(tuple(inputs[1][:, 0].tolist()))

    loop.model.register_forward_hook(note)
    list(loop.epochs())

    assert len(set(orders)) == 3


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_training_takes_large_tables_and_is_repeatable() -> None:
    def losses() -> list[float]:
        loop = toy_loop(
            toy_split(40), toy_split(5), compile=True, sparse_above=2, epochs=2, dropout=0.3
        )
        return [record.val_loss for record in loop.epochs()]

    assert losses() == losses()


def test_a_machine_without_a_compiler_is_told_with_the_setting_to_change(tmp_path: Path) -> None:
    script = """
from pipeline_lib.errors import TrainingError
from tests.unit.training.loops import small_loop
try:
    list(small_loop(compile=True).epochs())
except TrainingError as error:
    print(error)
"""
    nothing = {"PATH": str(tmp_path), "EVERGREEN_HOME": str(tmp_path / "home")}

    done = subprocess.run(
        [sys.executable, "-c", script],
        env=nothing,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.startswith("torch.compile failed: InvalidCxxCompiler"), done.stderr
    assert "Set `training.compile: false`" in done.stdout


@pytest.mark.parametrize(("n_train", "n_val"), [(1, 5), (5, 0), (0, 0)])
def test_splits_that_are_too_small_are_told(n_train: int, n_val: int) -> None:
    with pytest.raises(TrainingError, match=f"{n_train} rows to train and {n_val} to validate"):
        toy_loop(toy_split(n_train), toy_split(n_val))


@pytest.mark.parametrize(
    ("task", "primary"),
    [(task, metric) for task, known in METRICS.items() for metric in known],
)
@pytest.mark.filterwarnings("error")
def test_one_validation_row_is_enough_whatever_the_metric(task: Task, primary: Metric) -> None:
    loop = toy_loop(
        toy_split(20, task=task), toy_split(1, task=task), task=task, primary=primary, epochs=2
    )

    records = list(loop.epochs())

    assert len(records) == 2


@pytest.mark.parametrize(
    ("task", "primary"),
    [("binary", "roc_auc"), ("binary", "average_precision"), ("regression", "r2")],
)
def test_where_the_monitored_metric_is_never_defined_the_lowest_loss_is_the_best_epoch(
    task: Task, primary: Metric
) -> None:
    train, val = toy_split(60, task=task), toy_split(40, task=task, seed=1)
    val.y.fill_(val.y[0])  # one class, one value
    loop = toy_loop(
        train,
        val,
        task=task,
        primary=primary,
        monitor="primary",
        epochs=15,
        early_stopping={"patience": 4},
        scheduler={"kind": "plateau", "patience": 1},
    )

    records = list(loop.epochs())

    losses = [record.val_loss for record in records]
    assert [record.primary for record in records] == [None] * len(records)
    assert loop.best.epoch == 1 + losses.index(min(losses))
    assert records[-1].epoch == min(15, loop.best.epoch + 4)
    assert _loss(loop.model, val, task) == pytest.approx(min(losses), rel=1e-5)


def _record(primary: float | None, val_loss: float = 1.0) -> EpochRecord:
    return EpochRecord(1, 1.0, val_loss, primary, 0.1, 0.1, is_best=False)


@pytest.mark.parametrize("lower_is_better", [True, False])
def test_an_epoch_without_the_monitored_metric_is_never_better_than_one_with_it(
    lower_is_better: bool,
) -> None:
    records = [_record(0.0), _record(0.9), _record(-3.0), _record(None, 0.01), _record(None, 0.02)]

    levels = [level_of(r, "primary", lower_is_better=lower_is_better) for r in records]

    *defined, lower_loss, higher_loss = levels
    assert max(defined) < lower_loss < higher_loss
    assert (levels[0] < levels[1]) is lower_is_better
    for level in defined:
        assert improves(level, lower_loss, min_delta=0.5)
        assert not improves(lower_loss, level, min_delta=0.0)


def test_a_training_without_the_monitored_metric_resumes_where_it_was(tmp_path: Path) -> None:
    train, val = toy_split(60, task="binary"), toy_split(40, task="binary", seed=1)
    val.y.zero_()

    def begun() -> TrainingLoop:
        return toy_loop(
            train,
            val,
            task="binary",
            primary="roc_auc",
            monitor="primary",
            epochs=9,
            early_stopping={"patience": 4},
        )

    whole, cut, resumed = begun(), begun(), begun()
    through = list(whole.epochs())
    for record in cut.epochs():
        if record.epoch == 3:
            break
    save_checkpoint(tmp_path, "k", cut.state())
    found = load_checkpoint(tmp_path, "k").state
    assert found is not None
    resumed.resume(found)
    rest = list(resumed.epochs())

    assert [r.val_loss for r in through[3:]] == [r.val_loss for r in rest]
    assert resumed.best.epoch == whole.best.epoch


def test_the_rate_of_a_record_is_the_one_that_its_steps_took() -> None:
    scheduler = {"kind": "step", "step_size": 1, "gamma": 0.5}
    loop = toy_loop(
        toy_split(20),
        toy_split(5),
        epochs=3,
        scheduler=scheduler,
        optimizer={"kind": "sgd", "learning_rate": 0.8},
    )

    rates = [record.learning_rate for record in loop.epochs()]

    assert rates == pytest.approx([0.8, 0.4, 0.2])


def test_a_record_as_json_has_every_field_by_name() -> None:
    (record,) = toy_loop(toy_split(20), toy_split(5), epochs=1).epochs()

    assert set(record.to_json()) == {
        "epoch",
        "train_loss",
        "val_loss",
        "primary",
        "learning_rate",
        "epoch_s",
        "is_best",
        "member",
    }
    assert record.epoch_s > 0
