"""The UCI Car Evaluation table, made again from the rules that made it.

The published 1728 rows are every combination of six attributes, labelled by a hierarchical
decision model: PRICE(price, maint), COMFORT(doors, persons, lug_capacity),
TECH(COMFORT, safety), and output(PRICE, TECH). Four small rule tables therefore hold the whole
data set. Ranks below count from 0, worst first.

Source: Bohanec & Rajkovič 1988, "Knowledge acquisition and explanation for multi-attribute
decision making"; UCI Machine Learning Repository, data set 19.
"""

import itertools

import pyarrow as pa

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "price": ("vhigh", "high", "med", "low"),
    "maint": ("vhigh", "high", "med", "low"),
    "doors": ("2", "3", "4", "5more"),
    "persons": ("2", "4", "more"),
    "lug_capacity": ("small", "med", "big"),
    "safety": ("low", "med", "high"),
}
TARGET = "output"

# PRICE by price (rows) and maint (columns), each in the order of ATTRIBUTES.
_PRICE = (
    (0, 0, 1, 1),
    (0, 1, 1, 1),
    (1, 1, 2, 3),
    (1, 2, 3, 3),
)
# COMFORT by lug_capacity, for each doors (rows) and persons (columns).
_COMFORT = (
    ((0, 0, 0), (1, 1, 2), (0, 1, 2)),
    ((0, 0, 0), (1, 1, 2), (1, 2, 2)),
    ((0, 0, 0), (1, 2, 2), (1, 2, 2)),
    ((0, 0, 0), (1, 2, 2), (1, 2, 2)),
)
# TECH by COMFORT (rows) and safety (columns).
_TECH = (
    (0, 0, 0),
    (0, 1, 2),
    (0, 2, 3),
)
# output by PRICE (rows) and TECH (columns).
_OUTPUT = (
    ("unacc", "unacc", "unacc", "unacc"),
    ("unacc", "unacc", "acc", "acc"),
    ("unacc", "acc", "acc", "vgood"),
    ("unacc", "acc", "good", "vgood"),
)


def car_evaluation() -> pa.Table:
    """Return the table: 1728 rows, six feature columns and `output`, all of type string."""
    rows: list[tuple[str, ...]] = []
    ranks = [range(len(words)) for words in ATTRIBUTES.values()]
    for price, maint, doors, persons, lug, safety in itertools.product(*ranks):
        tech = _TECH[_COMFORT[doors][persons][lug]][safety]
        label = _OUTPUT[_PRICE[price][maint]][tech]
        at = (price, maint, doors, persons, lug, safety)
        words = (names[rank] for names, rank in zip(ATTRIBUTES.values(), at, strict=True))
        rows.append((*words, label))
    columns = zip(*rows, strict=True)
    return pa.table(
        {
            name: pa.array(column, pa.string())
            for name, column in zip((*ATTRIBUTES, TARGET), columns, strict=True)
        }
    )
