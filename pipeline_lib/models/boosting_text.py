"""LightGBM's text of trees, looked at before LightGBM reads it.

Its parser believes lengths and positions: measured with 4.7.0, a text with some bytes missing ends
the process. What is handed on here has arrays of the lengths that they claim, and children, columns
and categories that exist; whatever numbers they hold, trees end and read nothing else.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

_END = "\nend of trees\n"
_HEADER = {
    "version",
    "num_class",
    "num_tree_per_iteration",
    "label_index",
    "max_feature_idx",
    "objective",
    "feature_names",
    "feature_infos",
    "tree_sizes",
}
# How long a tree's arrays are: as many as leaves, or one fewer.
_OF_LEAVES = ("leaf_value", "leaf_weight", "leaf_count")
_OF_SPLITS = (
    "split_feature",
    "split_gain",
    "threshold",
    "decision_type",
    "left_child",
    "right_child",
    "internal_value",
    "internal_weight",
    "internal_count",
)
_OF_CATEGORIES = ("cat_boundaries", "cat_threshold")
_SINGLE = ("num_leaves", "num_cat", "is_linear", "shrinkage")
_KNOWN = {*_OF_LEAVES, *_OF_SPLITS, *_OF_CATEGORIES, *_SINGLE}
_IS_CATEGORICAL = 1
# What is no number ends the process as well: it is found in a thread.
_INTEGERS = re.compile(r"-?[0-9]{1,10}(?: -?[0-9]{1,10})*")
_NUMBER = r"-?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]{1,4})?|inf|nan)"
_NUMBERS = re.compile(f"{_NUMBER}(?: {_NUMBER})*")


def checked_trees(text: str, *, width: int, n_per_round: int) -> str:
    """Return the part of a text that holds the trees, once it is known to be sound.

    Args:
        text: as `lightgbm.Booster.model_to_string` gives it.
        width: columns that the trees may see.
        n_per_round: trees that are added per round.

    Raises:
        ValueError: it is damaged, or of other columns or classes.
    """
    start, end = text.find("\n\nTree=0\n"), text.find(_END)
    if not text.startswith("tree\n") or end < 0:
        raise ValueError("the file of trees is not whole")
    header = _fields(text[5 : start if start >= 0 else end].splitlines(), _HEADER)
    _check_header(header, width, n_per_round)
    sizes, position = _integers(header["tree_sizes"]), start + 2 if start >= 0 else end + 1
    for number, size in enumerate(sizes):
        tree = text[position : position + size]
        if size <= 0 or position + size > end + 1 or not tree.startswith(f"Tree={number}\n"):
            raise ValueError(f"tree {number} is not whole")
        _check_tree(number, tree, width)
        position += size
    if text[position : end + 1].strip() or len(sizes) % n_per_round:
        raise ValueError("the file of trees has other trees than it says")
    return text[: end + len(_END)]


def _check_header(header: Mapping[str, str], width: int, n_per_round: int) -> None:
    if missing := _HEADER - header.keys():
        raise ValueError(f"the trees have no {min(missing)}")
    n_columns = len(header["feature_names"].split(" "))
    if header["max_feature_idx"] != str(width - 1) or n_columns != width:
        raise ValueError(f"the trees see {n_columns} columns, the encoder has {width}")
    if len(header["feature_infos"].split(" ")) != width:
        raise ValueError("the trees do not say what columns hold")
    counts = header["num_class"], header["num_tree_per_iteration"]
    if counts != (str(n_per_round), str(n_per_round)):
        raise ValueError("the trees are of another number of classes")


def _check_tree(number: int, text: str, width: int) -> None:
    fields = _fields(text.splitlines()[1:], _KNOWN)
    for name, value in fields.items():
        if value and not _NUMBERS.fullmatch(value):
            raise ValueError(f"tree {number} has a wrong {name}")
    n_leaves, n_cat = (_integer(fields.get(name, "0")) for name in ("num_leaves", "num_cat"))
    lengths = dict.fromkeys(_OF_LEAVES, n_leaves) | dict.fromkeys(_OF_SPLITS, n_leaves - 1)
    wrong = [n for n, length in lengths.items() if n in fields and _length(fields[n]) != length]
    is_single = n_leaves == 1
    needed = ("leaf_value",) if is_single else ("leaf_value", *_OF_SPLITS[:6])
    wrong += [name for name in needed if name not in fields]
    if n_leaves < 1 or n_cat < 0 or fields.get("is_linear", "0") != "0":
        wrong.append("num_leaves")
    if wrong and not (is_single and "leaf_value" not in wrong):
        raise ValueError(f"tree {number} has a wrong {wrong[0]}")
    if is_single:
        return
    features, kinds = _integers(fields["split_feature"]), _integers(fields["decision_type"])
    if not all(0 <= feature < width for feature in features):
        raise ValueError(f"tree {number} asks for a column that does not exist")
    # A child stands behind its parent, or is the leaf -child - 1: so every way ends.
    for side in ("left_child", "right_child"):
        for parent, child in enumerate(_integers(fields[side])):
            if not (-n_leaves <= child < 0 or parent < child < n_leaves - 1):
                raise ValueError(f"tree {number} has a wrong {side}")
    _check_categories(number, fields, kinds, n_cat)


def _check_categories(
    number: int, fields: Mapping[str, str], kinds: Sequence[int], n_cat: int
) -> None:
    asked = [
        value
        for value, kind in zip(fields["threshold"].split(" "), kinds, strict=True)
        if kind & _IS_CATEGORICAL
    ]
    if any(not value.isdigit() or int(value) >= n_cat for value in asked):
        raise ValueError(f"tree {number} asks for a set of categories that does not exist")
    if not n_cat:
        return
    borders = _integers(fields.get("cat_boundaries", ""))
    n_words = _length(fields.get("cat_threshold", ""))
    if len(borders) != n_cat + 1 or borders[0] != 0 or borders[-1] != n_words:
        raise ValueError(f"tree {number} has wrong sets of categories")
    if any(low > high for low, high in pairwise(borders)):
        raise ValueError(f"tree {number} has wrong sets of categories")


def _fields(lines: Sequence[str], known: set[str]) -> dict[str, str]:
    """Return values by name; none may stand twice, for it is not known which one counts."""
    fields: dict[str, str] = {}
    for line in lines:
        name, sign, value = line.partition("=")
        if not line.strip():
            continue
        if not sign or name not in known or name in fields:
            raise ValueError(f"the trees hold {line[:40]!r}, which does not belong there")
        fields[name] = value
    return fields


def _length(value: str) -> int:
    return len(value.split(" ")) if value else 0


def _integers(value: str) -> list[int]:
    if value and not _INTEGERS.fullmatch(value):
        raise ValueError(f"the trees hold {value[:40]!r} in place of whole numbers")
    return [int(word) for word in value.split(" ")] if value else []


def _integer(value: str) -> int:
    (integer,) = _integers(value)
    return integer
