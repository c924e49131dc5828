"""Rows held or streamed: the same batches in the same order, each row once, from any step."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config.columns import CategoryColumn, Column, NumberColumn
from pipeline_lib.encoding import Encoder, NumberTarget
from pipeline_lib.encoding.tensors import ROW_GROUP_ROWS, EncodedSplit
from pipeline_lib.training.batches import batch_bounds
from pipeline_lib.training.rows import (
    POOLED_GROUPS,
    StreamedSplit,
    TensorSplit,
    count_codes,
    open_split,
    pools,
)
from tests.conftest import MakeTable
from tests.unit.encoding.in_memory import write_split

N_ROWS = 6 * ROW_GROUP_ROWS + 77
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def file(
    tmp_path_factory: pytest.TempPathFactory, toy_table: MakeTable
) -> tuple[Path, Encoder, TensorSplit]:
    """Write more rows than a pool holds; the target numbers them."""
    columns: dict[str, Column] = {"color": CategoryColumn(), "size": NumberColumn()}
    encoder = Encoder.fit(toy_table(50), columns, today="2026-01-01")
    random = np.random.default_rng(0)
    split = EncodedSplit(
        random.integers(0, 6, (N_ROWS, 1)).astype(np.int32),
        random.normal(size=(N_ROWS, encoder.n_numeric)).astype(np.float32),
        np.arange(N_ROWS, dtype=np.float32),
    )
    path = tmp_path_factory.mktemp("rows") / "train.parquet"
    write_split(path, split, encoder, NumberTarget("label", 0.0, 1.0))
    return path, encoder, TensorSplit.of(split, CPU)


def test_a_streamed_epoch_is_the_held_one_to_the_bit(
    file: tuple[Path, Encoder, TensorSplit],
) -> None:
    path, encoder, held = file
    streamed = StreamedSplit(path, encoder, CPU)
    bounds = batch_bounds(N_ROWS, 50_000)

    pairs = zip(held.batches(bounds, seed=7), streamed.batches(bounds, seed=7), strict=True)

    seen: list[torch.Tensor] = []
    for ours, theirs in pairs:
        assert torch.equal(ours.y, theirs.y)
        assert torch.equal(ours.x_cat, theirs.x_cat)
        assert torch.equal(ours.x_num, theirs.x_num)
        seen.append(ours.y)
    assert [len(y) for y in seen] == [stop - start for start, stop in bounds]
    assert torch.equal(torch.cat(seen).sort().values, held.y)


@pytest.mark.parametrize("first_step", [0, 1, 10, 11, 15])
def test_an_epoch_begun_at_a_step_gives_what_was_left_of_it(
    file: tuple[Path, Encoder, TensorSplit], first_step: int
) -> None:
    path, encoder, held = file
    bounds = batch_bounds(N_ROWS, 50_000)
    whole = list(held.batches(bounds, seed=3))

    for rows in (held, StreamedSplit(path, encoder, CPU)):
        rest = list(rows.batches(bounds, seed=3, first_step=first_step))

        assert len(rest) == len(bounds) - first_step
        for ours, theirs in zip(rest, whole[first_step:], strict=True):
            assert torch.equal(ours.y, theirs.y)


def test_rows_of_distant_groups_are_mixed_and_another_seed_mixes_otherwise(
    file: tuple[Path, Encoder, TensorSplit],
) -> None:
    _, _, held = file
    bounds = batch_bounds(N_ROWS, 10_000)

    first = next(held.batches(bounds, seed=1))
    other = next(held.batches(bounds, seed=2))

    groups = torch.bincount((first.y / ROW_GROUP_ROWS).long(), minlength=7)
    assert int((groups > 1_000).sum()) >= POOLED_GROUPS - 1
    assert not torch.equal(first.y, other.y)


@given(st.integers(1, 12 * ROW_GROUP_ROWS), st.integers(0, 2**32 - 1))
def test_pools_hold_every_group_once(n_rows: int, seed: int) -> None:
    made = list(pools(n_rows, seed))

    groups = [group for pool in made for group in pool.groups]
    assert sorted(groups) == list(range(-(-n_rows // ROW_GROUP_ROWS)))
    assert sum(len(pool.order) for pool in made) == n_rows


def test_what_exceeds_the_budget_stays_in_its_file(file: tuple[Path, Encoder, TensorSplit]) -> None:
    path, encoder, held = file
    n_bytes = sum(t.numel() * t.element_size() for t in (held.x_cat, held.x_num, held.y))

    fits = open_split(path, encoder, CPU, budget_bytes=n_bytes)
    exceeds = open_split(path, encoder, CPU, budget_bytes=n_bytes - 1)

    assert isinstance(fits, TensorSplit)
    assert isinstance(exceeds, StreamedSplit)
    assert torch.equal(torch.cat([b.y for b in exceeds.in_order(99_999)]), held.y)


def test_codes_are_counted_alike_held_and_streamed(
    file: tuple[Path, Encoder, TensorSplit],
) -> None:
    path, encoder, held = file

    (ours,), (theirs,) = (count_codes(r, (6,)) for r in (held, StreamedSplit(path, encoder, CPU)))

    assert torch.equal(ours, theirs)
    assert ours.tolist() == np.bincount(held.x_cat[:, 0].numpy(), minlength=6).tolist()
