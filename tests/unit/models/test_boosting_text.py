"""No text of trees, damaged or made up, ends the process that reads it or runs for ever."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lightgbm
import numpy as np
import pytest

from pipeline_lib.models.boosting_text import checked_trees


@pytest.fixture(scope="module")
def trees() -> lightgbm.Booster:
    """Return trees of three classes, which ask for categories and numbers."""
    random = np.random.default_rng(0)
    x = np.stack([random.integers(0, 30, 300), random.normal(size=300)], axis=1)
    rows = lightgbm.Dataset(x, (x[:, 0] + x[:, 1] > 15) + (x[:, 1] > 1), categorical_feature=[0])
    params = {"objective": "multiclass", "num_class": 3, "verbosity": -1, "num_leaves": 5}
    return lightgbm.train({**params, "min_data_per_group": 2}, rows, 3)


def test_sound_trees_answer_as_before(trees: lightgbm.Booster) -> None:
    x = np.random.default_rng(1).normal(10.0, 9.0, (50, 2))

    text = checked_trees(trees.model_to_string(), width=2, n_per_round=3)

    expected = np.asarray(trees.predict(x))
    np.testing.assert_array_equal(lightgbm.Booster(model_str=text).predict(x), expected)


def test_trees_without_a_split_are_sound() -> None:
    rows = lightgbm.Dataset(np.zeros((50, 1)), np.arange(50) % 2)
    alone = lightgbm.train({"objective": "binary", "verbosity": -1}, rows, 2)

    text = checked_trees(alone.model_to_string(), width=1, n_per_round=1)

    assert lightgbm.Booster(model_str=text).predict(np.zeros((1, 1))) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: text[:4], "not whole"),
        (lambda text: text[: len(text) // 2], "not whole"),
        (lambda text: text.replace("num_leaves=5", "num_leaves=9", 1), "leaf_value"),
        (lambda text: text.replace("left_child=-1 2", "left_child=-1 1", 1), "left_child"),
        (lambda text: text.replace("num_cat=1", "num_cat=0", 1), "categories"),
        (lambda text: text.replace("cat_boundaries=0 1", "cat_boundaries=0 9", 1), "categories"),
        (lambda text: text.replace("split_feature=0", "split_feature=7", 1), "column"),
        (lambda text: text.replace("max_feature_idx=1", "max_feature_idx=9"), "columns"),
        (lambda text: text.replace("num_class=3", "num_class=9"), "classes"),
        (lambda text: text.replace("is_linear=0", "is_linear=1", 1), "tree 0"),
        (lambda text: text.replace("shrinkage=", "num_leaves=", 1), "belong"),
        (lambda text: text.replace("tree_sizes=", "tree_sizes=1 "), "not whole"),
    ],
)
def test_unsound_trees_are_refused(
    trees: lightgbm.Booster, change: Callable[[str], str], why: str
) -> None:
    text = trees.model_to_string()
    changed = change(text)
    assert changed != text

    with pytest.raises(ValueError, match=why):
        checked_trees(changed, width=2, n_per_round=3)


@pytest.mark.slow
def test_no_change_ends_the_process_that_loads_and_asks(
    trees: lightgbm.Booster, tmp_path: Path
) -> None:
    trees.save_model(tmp_path / "trees.txt")

    done = subprocess.run([sys.executable, "-c", _CHANGES], cwd=tmp_path, check=False)

    assert done.returncode == 0


_CHANGES = """
import random
from pathlib import Path
import lightgbm, numpy
from pipeline_lib.models.boosting_text import checked_trees
whole, draw = Path("trees.txt").read_bytes(), random.Random(0)
x = numpy.random.default_rng(0).normal(10.0, 30.0, (100, 2))
for n in range(1500):
    data, start = bytearray(whole), draw.randrange(len(whole))
    if n % 3 == 0:
        del data[start : start + draw.randrange(200)]
    elif n % 3 == 1:
        del data[start:]
    else:
        start = draw.randrange(whole.index(b"end of trees"))
        data[start] = draw.choice(b"0123456789-. ")
    try:
        text = checked_trees(data.decode(), width=2, n_per_round=3)
        lightgbm.Booster(model_str=text).predict(x)
    except Exception as error:
        assert str(error)
"""
