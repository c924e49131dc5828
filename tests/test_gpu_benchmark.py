"""The GPU benchmark, as far as a CPU can tell: its page, its copy of the network, its checks."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu_ceilings import Ceilings, bound, step_bytes, step_flops
from benchmarks.gpu_cell import LOADER, Outcome
from benchmarks.gpu_check import Difference, Reference
from benchmarks.gpu_network import EmbeddingMLP, Shape
from benchmarks.gpu_page import Measured, speed_table, targets_table
from benchmarks.gpu_rows import Rows, read_rows, write_rows
from benchmarks.gpu_step import Captured, Learner, Resident, Setting
from pipeline_lib.models import EmbeddingMLP as ProductMLP

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
BARE = """
import sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder

BARRED = "pipeline_lib", "pydantic", "prefect", "mlflow", "pandas", "sklearn", "scipy"

class Bare(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in BARRED else super().find_spec(name, path, target)

sys.meta_path[:] = [BuiltinImporter, FrozenImporter, Bare]
"""
SETTING = Setting(Shape(), batch=128, dropout=0.4, n_workers=2)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    path = tmp_path_factory.mktemp("gpu") / "rows.parquet"
    write_rows(path, SETTING.shape, 2048)
    return read_rows(path)


@pytest.fixture(scope="module")
def reference(rows: Rows) -> Reference:
    return Reference(SETTING, rows)


def run(*arguments: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{path}:{ROOT}", "OMP_NUM_THREADS": "1"},
        check=False,
        capture_output=True,
        text=True,
    )


def test_a_machine_with_torch_numpy_and_pyarrow_alone_gets_the_page(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BARE)
    out = tmp_path / "gpu.md"
    arguments = ["--device", "cpu", "--quick", "--rounds", "1", "--batches", "64"]

    done = run(*arguments, "--out", str(out), path=tmp_path)

    assert done.returncode == 0, done.stderr
    page = out.read_text(encoding="utf-8")
    assert page in done.stdout
    assert "failed" not in page
    assert "wrong, see" not in page
    for name in (LOADER, "resident, eager"):
        found = re.findall(rf"^\| {name} \| ([0-9.]+) \(", page, re.MULTILINE)
        assert len(found) == 2, page
        assert all(float(speed) > 0 for speed in found)
    assert page.count("| resident, eager, SparseAdam | 0.") == 1
    assert page.count("| CUDA graph | needs CUDA |") == 2
    assert page.count("| right |") == 5


def test_too_few_rows_are_refused_with_the_number_it_takes(tmp_path: Path) -> None:
    done = run("--device", "cpu", "--quick", "--rows", "100", path=tmp_path)

    assert done.returncode != 0
    assert done.stderr.endswith("--rows 100 are too few for 256 a step: take 2,048\n")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_what_can_be_run_instead(tmp_path: Path) -> None:
    done = run(path=tmp_path)

    assert done.returncode != 0
    assert "`--device cpu --quick`" in done.stderr


def test_the_copy_of_the_network_draws_and_computes_what_the_product_does(rows: Rows) -> None:
    shape = SETTING.shape
    torch.manual_seed(3)
    ours = EmbeddingMLP(shape, dropout=0.0)  # masks are drawn otherwise on a CPU
    torch.manual_seed(3)
    product = ProductMLP(
        shape.cardinalities,
        n_numeric=5,
        d_out=4,
        d_hidden=shape.d_hidden,
        dropout=0.0,
        dropout_embedding=0.0,
    )
    x_cat, x_num, _ = rows.take(torch.arange(64))

    torch.manual_seed(4)
    logits = ours(x_cat, x_num)
    torch.manual_seed(4)
    expected = product(x_cat, x_num)

    assert [name for name, _ in ours.named_parameters()] == [
        name for name, _ in product.named_parameters()
    ]
    assert torch.equal(logits, expected)


def test_the_counted_operations_are_those_that_torch_counts(rows: Rows) -> None:
    learner = Learner(SETTING, CPU)
    batch = rows.take(torch.arange(SETTING.batch))

    with FlopCounterMode(display=False) as counter:
        learner.learn(*batch)

    assert step_flops(SETTING.shape, SETTING.batch) == counter.get_total_flops()


def test_the_counted_bytes_are_those_of_the_formula_by_hand() -> None:
    shape = Shape(cardinalities=(6, 20_000), n_numeric=1, n_classes=4, d_hidden=(3,))

    # widths 2 and 50, so 53 inputs; batch 10 touches 6 and 10 rows of the tables
    rows, boundaries, gather = 10 * (8 + 8 + 4 + 8), 20 * 10 * (53 + 3 + 4), 4 * (6 * 2 + 10 * 50)
    layers = 40 * (53 * 3 + 4 * 3 + 3 * 4 + 4 * 4)

    dense, sparse = (step_bytes(shape, 10, sparse=sparse) for sparse in (False, True))

    assert dense == rows + boundaries + gather + layers + 32 * (6 * 2 + 20_000 * 50)
    assert sparse == rows + boundaries + gather + layers + 32 * (6 * 2 + 10 * 50)


def test_the_bound_is_the_larger_of_the_two_times() -> None:
    slow_copy = bound(Shape(), 64, Ceilings(1.0, 1e30, None, None))
    slow_product = bound(Shape(), 64, Ceilings(1e30, 1.0, None, None))

    assert (slow_copy.which, slow_copy.seconds) == ("bytes", step_bytes(Shape(), 64))
    assert (slow_product.which, slow_product.seconds) == ("arithmetic", step_flops(Shape(), 64))


# Workers forked from a session full of threads may die: the page's own process holds the loader
# against the same reference.
@pytest.mark.parametrize("contestant", [Resident, Captured])
def test_every_way_of_feeding_the_step_learns_what_float64_learns(
    contestant: type[Resident | Captured], rows: Rows, reference: Reference
) -> None:
    difference = reference.difference(contestant(reference.setting, rows, CPU), CPU)

    assert difference.is_right, difference
    assert difference.move < 1e-4, difference


def test_sparse_adam_is_held_to_sparse_adam(tmp_path: Path) -> None:
    setting = replace(SETTING, shape=Shape.of("large", quick=True))
    write_rows(tmp_path / "rows.parquet", setting.shape, 1024)
    rows = read_rows(tmp_path / "rows.parquet")
    sparse, dense = (Reference(setting, rows, sparse=sparse) for sparse in (True, False))

    right = sparse.difference(Resident(sparse.setting, rows, CPU, sparse=True), CPU)
    other = dense.difference(Resident(sparse.setting, rows, CPU, sparse=True), CPU)

    assert right.is_right, right
    assert right.move < 1e-4, right
    assert other.move > 1e-3, other


@pytest.mark.parametrize(
    "mistake",
    [{"learning_rate": 1.1e-2}, {"epsilon": 1.2e-2}, {"dropout": 0.1}, {"seed": 1}],
)
def test_a_contestant_that_learns_something_else_is_wrong(
    mistake: dict[str, Any], rows: Rows, reference: Reference
) -> None:
    contestant = Resident(replace(reference.setting, **mistake), rows, CPU)

    assert not reference.difference(contestant, CPU).is_right


def test_a_step_that_replays_one_batch_is_wrong(rows: Rows, reference: Reference) -> None:
    class Stuck(Captured):
        def steps(self, order: torch.Tensor) -> Any:
            for _ in range(0, len(order), SETTING.batch):
                yield from super().steps(order[: SETTING.batch])

    assert not reference.difference(Stuck(reference.setting, rows, CPU), CPU).is_right


def test_no_number_makes_a_contestant_right_that_gives_nan() -> None:
    nan = float("nan")

    assert Difference(0.0, 0.0, 0.0, 0.0).is_right
    assert not any(
        Difference(*[nan if i == position else 0.0 for i in range(4)]).is_right
        for position in range(4)
    )


def test_a_wrong_contestant_gets_no_speed() -> None:
    wrong, right = Difference(1.0, 1.0, 1.0, 1.0), Difference(0.0, 0.0, 0.0, 0.0)
    least = bound(Shape(), 64, Ceilings(1e9, 1e9, None, None))
    cell = Measured("small", 64, {LOADER: least, "resident, eager": least, "CUDA graph": least})
    cell.outcomes = {LOADER: Outcome(right, step_s=[2e-3]), "resident, eager": Outcome(wrong)}
    cell.absent = {"CUDA graph": "failed: RuntimeError: no capture"}

    table = speed_table(cell)

    assert "| resident, eager | wrong, see below | | | | |" in table
    assert "| CUDA graph | failed: RuntimeError: no capture | | | | |" in table
    assert "nobody was measured" in targets_table([cell])


def test_masks_of_two_replays_differ_and_follow_from_the_seed(rows: Rows) -> None:
    assert Captured(SETTING, rows, CPU).masks_differ()


def test_replays_that_drop_nothing_are_found_out_and_the_weights_stay(rows: Rows) -> None:
    captured = Captured(replace(SETTING, dropout=0.0), rows, CPU)
    before = [weight.clone() for weight in captured.learner.model.parameters()]

    assert not captured.masks_differ()

    after = captured.learner.model.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert float(captured.learner.learning_rate) == pytest.approx(1e-3)


def test_a_step_reads_no_value_and_decides_nothing_by_one(rows: Rows) -> None:
    seen: set[str] = set()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            seen.add(func.name())
            return func(*args, **(kwargs or {}))

    captured = Captured(SETTING, rows, CPU)
    list(captured.steps(torch.arange(SETTING.batch)))

    with Watch():
        list(captured.steps(torch.arange(SETTING.batch)))

    # what would stop a GPU, and what a capture forbids
    forbidden = ("_local_scalar_dense", "item", "nonzero", "unique", "_to_copy", "masked_select")
    assert any("fused_adam" in name for name in seen), seen
    assert not [name for name in seen if name.split("::")[-1].split(".")[0] in forbidden], seen


def test_a_changed_rate_is_followed_by_the_next_replay(rows: Rows) -> None:
    captured = Captured(replace(SETTING, dropout=0.0), rows, CPU)
    weight = captured.learner.model.head.weight

    list(captured.steps(torch.arange(SETTING.batch)))
    captured.learner.learning_rate.fill_(0.0)
    before = weight.detach().clone()
    list(captured.steps(torch.arange(SETTING.batch)))

    assert torch.equal(weight, before)
