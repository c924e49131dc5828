"""What a run changed in the ledger: categories that came, fell silent, came back, are rare."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline_lib.encoding.encoder import CountedWords, Encoder
from pipeline_lib.encoding.vocabulary import UNSEEN, Vocabulary
from pipeline_lib.shown import hashed
from pipeline_lib.wording import MAX_EXAMPLES, examples


@dataclass(frozen=True)
class Words:
    """How many categories, and a few of them."""

    n: int = 0
    some: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, categories: pa.Array, chosen: npt.NDArray[np.bool_], *, hidden: bool = False
    ) -> "Words":
        """Return the chosen ones of categories, or the hashes of these."""
        positions = np.flatnonzero(chosen)
        # One more than is shown, so that a message can say that there are others.
        some = categories.take(pa.array(positions[: MAX_EXAMPLES + 1])).to_pylist()
        return cls(int(positions.size), tuple(hashed(w) or "" if hidden else w for w in some))


@dataclass(frozen=True)
class LedgerChange:
    """What a run changed in one column.

    `n_rare_rows` training rows hold one of `n_rare` words without a code of their own: rarer
    than `min_count`, or beyond `max_size`.
    """

    column: str
    new: Words = Words()
    quiet: Words = Words()
    back: Words = Words()
    n_rare: int = 0
    n_rare_rows: int = 0

    def __bool__(self) -> bool:
        """Report whether anything changed."""
        return any((self.new.n, self.quiet.n, self.back.n, self.n_rare))

    def __str__(self) -> str:
        """Return `3 new ('a', 'b', 'c'), 1 no longer seen ('d')`."""
        parts = [
            f"{words.n:,} {what} ({examples(words.some)})"
            for what, words in (
                ("new", self.new),
                ("no longer seen", self.quiet),
                ("seen again", self.back),
            )
            if words.n
        ]
        if self.n_rare:
            parts.append(f"{self.n_rare:,} rare, whose {self.n_rare_rows:,} rows count as unseen")
        return ", ".join(parts)

    @classmethod
    def from_json(cls, spec: Mapping[str, Any]) -> "LedgerChange":
        """Return the change that `dataclasses.asdict` took apart."""
        new, quiet, back = (
            Words(int(spec[key]["n"]), tuple(str(word) for word in spec[key]["some"]))
            for key in ("new", "quiet", "back")
        )
        n_rare, n_rare_rows = int(spec["n_rare"]), int(spec["n_rare_rows"])
        return cls(str(spec["column"]), new, quiet, back, n_rare, n_rare_rows)


def ledger_changes(
    ledger: Mapping[str, Vocabulary],
    encoder: Encoder,
    train: Mapping[str, CountedWords],
    codes: Mapping[str, npt.NDArray[np.int32]],
) -> tuple[LedgerChange, ...]:
    """Return what changed, column by column; columns without a change are left out.

    Columns that hide their values show the hashes of words.

    Args:
        ledger: the vocabularies before.
        encoder: the one after.
        train: the words of training rows, with their counts.
        codes: the code of each of these words.
    """
    changes: list[LedgerChange] = []
    for name, now in encoder.vocabularies.items():
        before = ledger.get(name, Vocabulary(name))
        n_before, categories = len(before.categories), now.categories
        is_new = np.arange(len(categories)) >= n_before
        words = partial(Words.of, categories, hidden=encoder.columns[name].hides_values)
        had_rows = np.concatenate([before.counts > 0, np.zeros(is_new.sum(), np.bool_)])
        counted = train[name]
        has_no_code = (codes[name] == UNSEEN) & (counted.counts[1:] > 0)
        changes.append(
            LedgerChange(
                name,
                words(is_new),
                words(had_rows & (now.counts == 0)),
                words(~had_rows & ~is_new & (now.counts > 0)),
                int(has_no_code.sum()),
                int(counted.counts[1:][has_no_code].sum()),
            )
        )
    return tuple(change for change in changes if change)
