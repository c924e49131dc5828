"""Splits in memory, written as the product writes them batch by batch."""

from pathlib import Path

from pipeline_lib.encoding import EncodedSplit, Encoder, Target
from pipeline_lib.encoding.tensors import SplitWriter


def write_split(path: Path, split: EncodedSplit, encoder: Encoder, target: Target) -> None:
    """Write a split."""
    weights = [] if split.weight is None else [split.weight]
    with SplitWriter(path, encoder, target, weighted=bool(weights)) as writer:
        writer.write([*split.x_cat.T, *split.x_num.T, split.y, *weights])
