"""Words that a column's order does not rank: what a person should know of them."""

import numpy as np
import pyarrow as pa

from pipeline_lib.encoding.encoder import Encoder
from pipeline_lib.shown import hashed
from pipeline_lib.wording import examples, rows_that


def unranked_notes(encoder: Encoder) -> tuple[str, ...]:
    """Return a note for each column with an order whose training rows hold words without a rank.

    Args:
        encoder: of the training rows.
    """
    notes: list[str] = []
    for name, inputs in encoder.orders.items():
        vocabulary, column = encoder.vocabularies[name], encoder.columns[name]
        without = np.isnan(inputs.ranks(vocabulary.categories)) & (vocabulary.counts > 0)
        if not without.any():
            continue
        words: list[str] = vocabulary.categories.filter(pa.array(without)).to_pylist()
        shown = examples(map(hashed, words) if column.hides_values else words)
        why = "no number" if inputs.order == "numeric" else "not in `order`"
        held = rows_that(int(vocabulary.counts[without].sum()), f"hold {shown}, {why}")
        notes.append(f"{name}: {held}; they have no rank")
    return tuple(notes)
