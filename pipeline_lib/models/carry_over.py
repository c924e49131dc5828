"""The weights of a trained network as the first weights of one for new rows.

Embeddings are matched by column and category, the first block's inputs by column, the head by
class. Everything is carried over as the trained network's own encoder would have it: a category
that it does not know starts as the unseen one. Scaled numbers count as what they are after
scaling, whatever the scales were.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import nn

from pipeline_lib.config.columns import Column
from pipeline_lib.encoding import ClassTarget, Encoder, NumberTarget, Target, Vocabulary
from pipeline_lib.encoding.target import classes_as
from pipeline_lib.encoding.vocabulary import MISSING, N_RESERVED, UNSEEN
from pipeline_lib.models.widths import embedding_width
from pipeline_lib.wording import examples

N_co = TypeVar("N_co", covariant=True)


class Parts(Protocol):
    """The parts of a network whose weights have a meaning by column and by class."""

    @property
    def tables(self) -> Sequence[nn.Embedding]:
        """The embedding of each category column."""
        ...

    @property
    def d_embeddings(self) -> Sequence[int]:
        """The width of each embedding."""
        ...

    @property
    def blocks(self) -> nn.Module:
        """Whose `0.weight` takes the embeddings, then the numbers; shape ``(d_out, d_in)``."""
        ...

    @property
    def head(self) -> nn.Linear:
        """The last layer, a row per class."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield all weights."""
        ...


@dataclass(frozen=True)
class Learned(Generic[N_co]):
    """A trained network, and what its inputs and outputs mean."""

    network: N_co
    encoder: Encoder
    target: Target


@dataclass(frozen=True)
class CarriedOver:
    """What a network has of another one: columns by name; new ones, new categories and classes."""

    columns: tuple[str, ...]
    fresh_columns: tuple[str, ...]
    n_new_categories: int
    n_new_classes: int
    has_head: bool

    def __str__(self) -> str:
        n_columns = len(self.columns) + len(self.fresh_columns)
        parts = [f"{len(self.columns)} of {n_columns} columns"]
        if self.fresh_columns:
            parts.append(f"fresh: {examples(self.fresh_columns)}")
        if self.n_new_categories:
            n = self.n_new_categories
            one = "1 new category starts as an unseen one"
            parts.append(one if n == 1 else f"{n:,} new categories start as unseen ones")
        if not self.has_head:
            parts.append("a fresh last layer, for the classes or the target's scale are others")
        elif self.n_new_classes:
            n = self.n_new_classes
            parts.append("1 new class starts fresh" if n == 1 else f"{n} new classes start fresh")
        return ", ".join(parts)


def carried_widths(source: Learned[Parts], encoder: Encoder, d_max: int) -> tuple[int, ...]:
    """Return the width of each embedding: the source's own where it has the column.

    A column's width follows from its categories when it is new; later it stays.
    """
    theirs = dict(zip(source.encoder.code_inputs, source.network.d_embeddings, strict=True))
    shared = shared_columns(source.encoder, encoder)
    return tuple(
        theirs[name] if name in shared else embedding_width(inputs.cardinality, d_max)
        for name, inputs in encoder.code_inputs.items()
    )


def shared_columns(before: Encoder, after: Encoder) -> tuple[str, ...]:
    """Return the columns whose codes or floats mean the same to both encoders."""
    return tuple(
        name
        for name, column in after.columns.items()
        if name in before.columns and _meaning(before.columns[name]) == _meaning(column)
    )


@torch.no_grad()
def carry_over(
    source: Learned[Parts],
    network: Parts,
    encoder: Encoder,
    target: Target,
    *,
    share: float = 1.0,
) -> CarriedOver:
    """Overwrite fresh weights with a trained network's, as far as they mean the same.

    Source of `share`: Ash & Adams 2020, arXiv:1910.08475, who shrink what is trained and add noise;
    here the noise is the fresh weights.

    Args:
        source: the trained network; its blocks are as wide as those of `network`.
        network: built with the widths of `carried_widths`; changed in place.
        encoder: of `network`.
        target: of `network`.
        share: of the trained weights in the result; the rest are fresh ones.
    """
    fresh_weights = [weight.clone() for weight in network.parameters()]
    shared = shared_columns(source.encoder, encoder)
    n_new = 0
    before = dict(zip(source.encoder.code_inputs, source.network.tables, strict=True))
    after = dict(zip(encoder.code_inputs, network.tables, strict=True))
    for name in (name for name in shared if name in after):
        rows = _rows(source.encoder, encoder, name)
        inputs = encoder.code_inputs[name]
        if isinstance(inputs, Vocabulary):
            is_trained = (inputs.counts > 0) & ~inputs.is_rare
            n_new += int(((rows[N_RESERVED:] == UNSEEN) & is_trained).sum())
        weight = before[name].weight
        after[name].weight.copy_(weight[torch.from_numpy(rows).to(weight.device)])
    _carry_blocks(source, network, encoder, shared)
    n_outputs = _carry_head(source.network.head, network.head, source.target, target)
    for weight, fresh_weight in zip(network.parameters(), fresh_weights, strict=True):
        weight.lerp_(fresh_weight, 1 - share)
    n_new_outputs = network.head.out_features - n_outputs
    fresh = tuple(name for name in encoder.columns if name not in shared)
    return CarriedOver(shared, fresh, n_new, n_new_outputs, n_outputs > 0)


def _meaning(column: Column) -> Mapping[str, object]:
    """Return the settings that decide what a column's codes or floats mean."""
    deciding = {"kind", "n_buckets", "scaling", "parts", "true", "false", "order"}
    settings = column.model_dump(include=deciding)
    return (
        settings
        if column.kind in {"category", "hash"}
        else settings | {"nullable": column.nullable}
    )


def _rows(
    before: Encoder, after: Encoder, name: str
) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Return the source's code for each code of a column."""
    theirs, ours = before.code_inputs[name], after.code_inputs[name]
    if not (isinstance(theirs, Vocabulary) and isinstance(ours, Vocabulary)):
        return np.arange(ours.cardinality)
    known = theirs.codes_of(ours.categories).astype(np.int64)
    return np.concatenate([[UNSEEN, MISSING], known])


def _carry_blocks(
    source: Learned[Parts], network: Parts, encoder: Encoder, shared: Sequence[str]
) -> None:
    theirs, ours = source.network.blocks.state_dict(), network.blocks.state_dict()
    first = "0.weight"
    weight = ours[first].clone()  # of columns the source does not know they stay fresh
    before = _places(source.encoder, source.network)
    for (part, name), place in _places(encoder, network).items():
        if name in shared:
            weight[:, place] = theirs[first][:, before[part, name]].to(weight)
    network.blocks.load_state_dict({**theirs, first: weight})


def _places(encoder: Encoder, network: Parts) -> dict[tuple[str, str], slice]:
    """Return where codes and floats of each column stand in the first block's input.

    A category with a rank has both, so the key says which: ("cat", name) or ("num", name).
    """
    codes = zip(encoder.code_inputs, network.d_embeddings, strict=True)
    widths = {("cat", name): width for name, width in codes}
    widths |= {("num", name): inputs.width for name, inputs in encoder.float_inputs.items()}
    places: dict[tuple[str, str], slice] = {}
    start = 0
    for key, width in widths.items():
        places[key] = slice(start, start + width)
        start += width
    return places


def _carry_head(theirs: nn.Linear, ours: nn.Linear, before: Target, after: Target) -> int:
    """Carry the last layer over, row by row where classes have a row each; return how many."""
    rows: list[tuple[int, int]] = []
    if isinstance(before, ClassTarget) and isinstance(after, ClassTarget):
        classes = classes_as(before, after)
        if classes == after.classes:
            rows = [(number, number) for number in range(after.d_out)]
        elif before.d_out > 1 and after.d_out > 1:
            known = {name: number for number, name in enumerate(classes)}
            rows = [(n, known[name]) for n, name in enumerate(after.classes) if name in known]
    elif isinstance(before, NumberTarget) and isinstance(after, NumberTarget):
        rows = [(0, 0)] if (before.log is None) == (after.log is None) else []
    for mine, other in rows:
        ours.weight[mine] = theirs.weight[other].to(ours.weight)
        ours.bias[mine] = theirs.bias[other].to(ours.bias)
    return len(rows)
