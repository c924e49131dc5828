"""How many rows go through a network at once."""

from typing import Literal

from pipeline_lib.errors import TrainingError

# Rows of a forward pass without gradients.
EVAL_BATCH_ROWS = 16_384


def batch_bounds(n_rows: int, batch_size: int | Literal["full"]) -> list[tuple[int, int]]:
    """Return first and last-plus-one row of each batch; a last row alone joins the one before.

    BatchNorm cannot take the deviation of a single row.

    >>> batch_bounds(9, 4)
    [(0, 4), (4, 9)]
    """
    size = n_rows if batch_size == "full" else min(batch_size, n_rows)
    starts = list(range(0, n_rows, size))
    if len(starts) > 1 and n_rows - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], n_rows], strict=True))


def refuse_too_few_rows(n_train: int, n_val: int) -> None:
    """Refuse splits that nothing can be learned from.

    Raises:
        TrainingError: a split is too small.
    """
    if n_train < 2 or n_val < 1:
        raise TrainingError(
            f"{n_train} rows to train and {n_val} to validate on are too few; 2 and 1 are the least"
        )
