"""CatBoost's trees as JSON, looked at before CatBoost reads them.

Its readers believe what they read: measured with 1.2.10, a changed file of its binary format keeps
it busy without an end, and a changed JSON ends the process (a division by zero). What is handed on
here has columns, splits and leaves that exist, in arrays of the lengths that they need.
"""

import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

_MAX_DEPTH = 16
_CTR_TYPES = {"Borders", "Buckets", "BinarizedTargetMeanValue", "FloatTargetMeanValue", "Counter"}
_OF_ELEMENTS = {
    "cat_feature_value": ("cat_feature_index",),
    "cat_feature_exact_value": ("cat_feature_index", "value"),
    "float_feature": ("float_feature_index", "border"),
}
_SPLITS = ("FloatFeature", "OneHotFeature", "OnlineCtr")
_NAN_TREATMENTS = ("AsIs", "AsFalse", "AsTrue")


def checked_json(text: str, *, n_codes: int, n_numeric: int, n_outputs: int) -> str:
    """Return the part of a saved model that predictions need, once it is known to be sound.

    Args:
        text: as CatBoost saves it in the format `json`.
        n_codes: columns of categories, `f0` and following.
        n_numeric: columns of numbers, after these.
        n_outputs: raw values per row.

    Raises:
        ValueError: it is damaged, or of other columns or classes.
    """
    try:
        tree = json.loads(text)
        features, trees = tree["features_info"], tree["oblivious_trees"]
        kept = {
            "features_info": _features(features, n_codes, n_numeric),
            "oblivious_trees": trees,
            "scale_and_bias": _scale_and_bias(tree["scale_and_bias"], n_outputs),
        }
        tables = tree.get("ctr_data", {})
        _check_ctrs(features.get("ctrs", []), tables, n_codes, n_numeric)
        n_splits = _n_splits(features)
        for number, each in enumerate(trees):
            _check_tree(number, each, n_splits, n_outputs)
    except (KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ValueError(f"the file of trees is damaged: {error!r}") from None
    if tables:
        kept["ctr_data"] = tables
    return json.dumps(kept, allow_nan=False)


def n_trees(text: str) -> int:
    """Return how many trees a checked text has."""
    return len(json.loads(text)["oblivious_trees"])


def _features(info: Mapping[str, Any], n_codes: int, n_numeric: int) -> Mapping[str, Any]:
    unknown = set(info) - {"categorical_features", "float_features", "ctrs"}
    codes, numbers = info.get("categorical_features", []), info.get("float_features", [])
    if unknown or (len(codes), len(numbers)) != (n_codes, n_numeric):
        raise ValueError(
            f"the trees see {len(codes)} columns of categories and {len(numbers)} of numbers, the "
            f"encoder has {n_codes} and {n_numeric}"
        )
    for start, columns in ((0, codes), (n_codes, numbers)):
        for index, column in enumerate(columns):
            place = (column["feature_index"], column["flat_feature_index"], column["feature_id"])
            if place != (index, start + index, f"f{start + index}"):
                raise ValueError(f"the trees have another column f{start + index}")
    for column in codes:
        _integers(column.get("values", []))
    for column in numbers:
        _ascending(column.get("borders") or [])
        if column["nan_value_treatment"] not in _NAN_TREATMENTS:
            raise ValueError("the trees treat missing numbers in an unknown way")
    return info


def _scale_and_bias(value: Any, n_outputs: int) -> Any:
    scale, bias = value
    _numbers([scale, *bias])
    if len(bias) != n_outputs:
        raise ValueError("the trees are of another number of classes")
    return value


def _check_ctrs(
    ctrs: Sequence[Mapping[str, Any]],
    tables: Mapping[str, Mapping[str, Any]],
    n_codes: int,
    n_numeric: int,
) -> None:
    for table in tables.values():
        stride, cells = table["hash_stride"], table["hash_map"]
        if type(stride) is not int or stride < 2 or not cells or len(cells) % stride:
            raise ValueError("a table of target statistics is not whole")
        if not all(str(cells[at]).isdigit() for at in range(0, len(cells), stride)):
            raise ValueError("a table of target statistics has a wrong key")
        _numbers([cell for at, cell in enumerate(cells) if at % stride])
        _integers([table["counter_denominator"]])
    for ctr in ctrs:
        _ascending(ctr["borders"])
        _numbers([ctr[name] for name in ("prior_numerator", "prior_denomerator", "scale", "shift")])
        key = ctr["identifier"]
        if ctr["ctr_type"] not in _CTR_TYPES or key not in tables:
            raise ValueError("target statistics that trees ask for are not there")
        _integers([ctr["target_border_idx"]])
        if not 0 <= ctr["target_border_idx"] < tables[key]["hash_stride"] - 1:
            raise ValueError("the trees ask for statistics of a class that does not exist")
        elements = ctr["elements"]
        if not elements:
            raise ValueError("target statistics are of no column")
        for element in elements:
            _check_element(element, n_codes, n_numeric)


def _check_element(element: Mapping[str, Any], n_codes: int, n_numeric: int) -> None:
    index, *values = (element[name] for name in _OF_ELEMENTS[element["combination_element"]])
    _numbers(values)
    n_columns = n_numeric if "float_feature_index" in element else n_codes
    if type(index) is not int or not 0 <= index < n_columns:
        raise ValueError("target statistics are of a column that does not exist")


def _n_splits(info: Mapping[str, Any]) -> int:
    """Return how many questions of all columns and statistics there are."""
    return sum(
        len(each.get(name) or [])
        for group, name in (
            ("float_features", "borders"),
            ("categorical_features", "values"),
            ("ctrs", "borders"),
        )
        for each in info.get(group, [])
    )


def _check_tree(number: int, tree: Mapping[str, Any], n_splits: int, n_outputs: int) -> None:
    splits, leaves = tree["splits"] or [], tree["leaf_values"]
    _numbers(leaves)
    if len(splits) > _MAX_DEPTH or len(leaves) != n_outputs << len(splits):
        raise ValueError(f"tree {number} has other leaves than its splits make")
    if len(tree.get("leaf_weights", [])) not in (0, 1 << len(splits)):
        raise ValueError(f"tree {number} has other weights than leaves")
    _numbers(tree.get("leaf_weights", []))
    for split in splits:
        index = split["split_index"]
        if split["split_type"] not in _SPLITS or type(index) is not int:
            raise ValueError(f"tree {number} has an unknown split")
        if not 0 <= index < n_splits:
            raise ValueError(f"tree {number} asks for a split that does not exist")


def _numbers(values: Sequence[Any]) -> None:
    if not all(type(value) in (int, float) and math.isfinite(value) for value in values):
        raise ValueError("the file of trees holds something that is no finite number")


def _integers(values: Sequence[Any]) -> None:
    if not all(type(value) is int and abs(value) < 2**63 for value in values):
        raise ValueError("the file of trees holds something that is no integer")


def _ascending(borders: Sequence[Any]) -> None:
    _numbers(borders)
    if any(low > high for low, high in pairwise(borders)):
        raise ValueError("borders of a column do not ascend")
