"""The GPU benchmark, as far as a CPU can tell: its page, its bound, its checks."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu_ceilings import Ceilings, bound, step_bytes, step_flops
from benchmarks.gpu_loops import (
    CHECK_STEPS,
    EAGER,
    ENTRANTS,
    LOADER,
    Difference,
    Entrant,
    LoadedRows,
    cardinalities,
    difference,
    network,
    synthetic_rows,
)
from benchmarks.gpu_page import Cell, Outcome, speed_table
from pipeline_lib.models import EmbeddingMLP
from pipeline_lib.training.batches import batch_bounds
from pipeline_lib.training.rows import TensorSplit

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
# torchmetrics imports scipy and matplotlib where their metadata is there, and does without else.
BARE = """
import sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder

BARRED = (
    "prefect", "mlflow", "pandas", "sklearn", "duckdb", "sqlalchemy",
    "fastapi", "cyclopts", "safetensors", "tensorboard", "threadpoolctl",
)

class Bare(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in BARRED else super().find_spec(name, path, target)

sys.meta_path[:] = [BuiltinImporter, FrozenImporter, Bare]
"""
SIZES = cardinalities("small")


@pytest.fixture(scope="module")
def rows() -> TensorSplit:
    return synthetic_rows(SIZES, CHECK_STEPS * 128)


def run(*arguments: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{path}:{ROOT}", "OMP_NUM_THREADS": "1"},
        check=False,
        capture_output=True,
        text=True,
    )


def test_a_machine_with_the_named_wheels_alone_gets_the_page(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BARE)
    out = tmp_path / "gpu.md"
    arguments = ["--device", "cpu", "--quick", "--rounds", "1", "--batches", "64"]

    done = run(*arguments, "--rows", "1024", "--out", str(out), path=tmp_path)

    assert done.returncode == 0, done.stderr
    page = out.read_text(encoding="utf-8")
    assert page in done.stdout
    assert "Device: CPU, 1 threads" in page
    assert "failed" not in page
    assert "wrong, see" not in page
    for name in (LOADER, EAGER):
        found = re.findall(rf"^\| {name} \| ([0-9.]+) \(", page, re.MULTILINE)
        assert len(found) == 2, page
        assert all(float(speed) > 0 for speed in found)
    assert len(re.findall(r"\| resident, eager, SparseAdam \| [0-9.]+ \(", page)) == 1
    assert page.count("| resident, compiled | needs CUDA |") == 1
    assert page.count("| right |") == 7


def test_too_few_rows_are_refused_with_the_number_it_takes(tmp_path: Path) -> None:
    done = run("--device", "cpu", "--quick", "--rows", "100", path=tmp_path)

    assert done.returncode != 0
    assert done.stderr.endswith("--rows 100 are too few for 256 a step: take 1,280\n")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_what_can_be_run_instead(tmp_path: Path) -> None:
    done = run(path=tmp_path)

    assert done.returncode != 0
    assert "`--device cpu --quick`" in done.stderr


def test_the_counted_operations_are_those_that_torch_counts(rows: TensorSplit) -> None:
    plain = network(SIZES, dropout=0.4)
    batch = rows.slice(0, 128)

    with FlopCounterMode(display=False) as counter:
        torch.nn.functional.cross_entropy(plain(batch.x_cat, batch.x_num), batch.y).backward()

    assert step_flops(plain, 128) == counter.get_total_flops()


def test_the_counted_bytes_are_those_of_the_formula_by_hand() -> None:
    small = EmbeddingMLP(
        (6, 20_000), n_numeric=1, d_out=4, d_hidden=(3,), dropout=0.0, dropout_embedding=0.0
    )

    # widths 2 and 50, so 53 inputs; batch 10 touches 6 and 10 rows of the tables
    rows, boundaries, gather = 10 * (8 + 8 + 4 + 8), 20 * 10 * (53 + 3 + 4), 4 * (6 * 2 + 10 * 50)
    layers = 40 * (53 * 3 + 4 * 3 + 3 * 4 + 4 * 4)

    dense, sparse = (step_bytes(small, 10, sparse_above=above) for above in (None, 10_000))

    assert dense == rows + boundaries + gather + layers + 32 * (6 * 2 + 20_000 * 50)
    assert sparse == rows + boundaries + gather + layers + 32 * (6 * 2 + 10 * 50)


def test_the_bound_is_the_larger_of_the_two_times() -> None:
    plain = network(SIZES, dropout=0.4)

    slow_copy, slow_product = (
        bound(plain, 64, Ceilings(copy, product)) for copy, product in ((1.0, 1e30), (1e30, 1.0))
    )

    assert (slow_copy.which, slow_copy.seconds) == ("bytes", step_bytes(plain, 64))
    assert (slow_product.which, slow_product.seconds) == ("arithmetic", step_flops(plain, 64))


# Without workers: those that are forked from a session full of threads may die.
def test_a_loader_brings_the_batches_that_rows_on_the_device_bring(rows: TensorSplit) -> None:
    bounds = batch_bounds(rows.n_rows, 128)

    loaded = LoadedRows(rows, CPU, n_workers=0).batches(bounds, seed=7, first_step=1)

    for ours, resident in zip(loaded, rows.batches(bounds, seed=7, first_step=1), strict=True):
        assert torch.equal(ours.x_cat, resident.x_cat)
        assert torch.equal(ours.x_num, resident.x_num)
        assert torch.equal(ours.y, resident.y)


@pytest.mark.parametrize("name", [EAGER, "resident, eager, bf16"])
def test_every_setting_learns_what_the_plain_loop_learns(name: str, rows: TensorSplit) -> None:
    found = difference(ENTRANTS[name], SIZES, rows, rows)

    assert found.is_right, found


@pytest.mark.parametrize(
    "mistake",
    [{"seed": 1}, {"clip_norm": 0.1}, {"ema_decay": 0.9}, {"scheduler": {"kind": "cosine"}}],
)
def test_a_contestant_that_learns_something_else_is_wrong(
    mistake: dict[str, Any], rows: TensorSplit
) -> None:
    entrant = replace(ENTRANTS[EAGER], settings={**ENTRANTS[EAGER].settings, **mistake})

    assert not difference(entrant, SIZES, rows, rows).is_right


def test_a_contestant_with_other_rows_is_wrong(rows: TensorSplit) -> None:
    others = TensorSplit(rows.x_cat, rows.x_num.flip(0), rows.y)

    assert not difference(Entrant({"sparse_above": None}), SIZES, rows, others).is_right


def test_no_number_makes_a_contestant_right_that_gives_nan() -> None:
    nan = float("nan")

    assert Difference(0.0, 0.0, is_half=False).is_right
    assert not Difference(nan, 0.0, is_half=False).is_right
    assert not Difference(0.0, nan, is_half=False).is_right


def test_a_wrong_contestant_gets_no_speed() -> None:
    wrong, right = (Difference(off, off, is_half=False) for off in (1.0, 0.0))
    least = bound(network(SIZES, dropout=0.4), 64, Ceilings(1e9, 1e9))
    cell = Cell("small", 64, {LOADER: least, EAGER: least, "resident, compiled": least})
    cell.outcomes = {LOADER: Outcome(right, step_s=[2e-3]), EAGER: Outcome(wrong)}
    cell.absent = {"resident, compiled": "failed: TrainingError: no compiler"}

    table = speed_table(cell)

    assert "| resident, eager | wrong, see below | | | | |" in table
    assert "| resident, compiled | failed: TrainingError: no compiler | | | | |" in table
