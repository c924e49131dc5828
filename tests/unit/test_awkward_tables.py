"""Tables that break models elsewhere: each is learned, or refused with one message that helps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline_lib import fit, load_config, load_model
from pipeline_lib.data.sources.open import open_source
from pipeline_lib.errors import EvergreenError
from pipeline_lib.serving import FittedModel

Learned = Callable[..., tuple[FittedModel, pd.DataFrame]]


@pytest.fixture
def learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Learned:
    """Return what fits the model that `evergreen new` proposes, and predicts all of the rows."""
    from datetime import date

    from evergreen.commands.new import new

    monkeypatch.chdir(tmp_path)
    (tmp_path / "prefect.yaml").touch()
    (tmp_path / "configs").mkdir()

    def run(frame: pd.DataFrame, *assignments: str) -> tuple[FittedModel, pd.DataFrame]:
        frame.to_csv("rows.csv", index=False)
        new("rows.csv", target="y", name="rows")
        few = [f"training.{key}" for key in ("epochs=3", "batch_size=64", "device=cpu")]
        config = load_config("configs/rows.yaml", assignments=[*few, *assignments])
        assert config.model.kind == "auto"
        rows = open_source(config.data.source, root=tmp_path, run_date=date(2026, 1, 1)).read()
        fitted = fit(config, rows)
        fitted.save(tmp_path / "model")
        again = load_model(tmp_path / "model")
        found = again.predict(rows.drop_columns(["y"]))
        probabilities = [name for name in found if str(name).startswith("probability_")]
        if probabilities:
            assert np.allclose(found[probabilities].sum(axis=1), 1)
        else:
            assert np.isfinite(found["prediction"].to_numpy(float)).all()
        return fitted, found

    return run


def _classes(n_rows: int, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    words = random.choice(list("abcd"), n_rows)
    numbers = random.normal(size=n_rows).round(4)
    label = np.where((numbers > 0) ^ (words == "a"), "yes", "no")
    return pd.DataFrame({"word": words, "number": numbers, "y": label})


@pytest.mark.parametrize("column", ["word", "number"])
def test_one_column_is_enough(learned: Learned, column: str) -> None:
    frame = _classes(300)
    frame["word"] += [f"{n:02d}" for n in np.random.default_rng(1).integers(0, 40, 300)]

    frame = frame[[column, "y"]]
    _, found = learned(frame)

    assert set(found["prediction"]) <= {"yes", "no"}


def test_three_hundred_rows_are_learned(learned: Learned) -> None:
    frame = _classes(300)

    _, found = learned(frame)

    assert (found["prediction"] == frame["y"]).mean() > 0.8


def test_a_table_without_numbers_and_one_without_words_are_learned(learned: Learned) -> None:
    random = np.random.default_rng(0)
    words = pd.DataFrame(random.choice(list("abc"), (400, 3)), columns=list("uvw"))
    words["y"] = np.where(words["u"] == words["v"], "same", "other")
    numbers = pd.DataFrame(random.normal(size=(400, 3)).round(3), columns=list("uvw"))
    numbers["y"] = np.where(numbers["u"] > numbers["v"], "more", "less")

    for frame in (words, numbers):
        _, found = learned(frame)

        assert (found["prediction"] == frame["y"]).mean() > 0.8
        Path("configs/rows.yaml").unlink()


def test_a_target_that_never_changes_is_refused(learned: Learned) -> None:
    with pytest.raises(EvergreenError, match="y"):
        learned(_classes(300).assign(y="yes"))
    with pytest.raises(EvergreenError, match="y"):
        learned(_classes(300).assign(y=3.5))


def test_two_rows_of_each_class_are_refused_or_learned(learned: Learned) -> None:
    names = [f"class {n}" for n in range(150)]
    frame = _classes(300).assign(y=names * 2)

    with pytest.raises(EvergreenError, match="class"):
        learned(frame)


def test_as_many_categories_as_rows_are_no_information(learned: Learned) -> None:
    frame = _classes(400).assign(name=[f"n{i:04d}x{i * 7919 % 1000}" for i in range(400)])

    _, found = learned(frame, "columns.name={kind: category}")

    assert (found["prediction"] == frame["y"]).mean() > 0.8


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_column_may_have_no_value_in_one_split(learned: Learned, split: str) -> None:
    frame = _classes(600)
    frame["split"] = np.array(["train", "train", "train", "val", "test"])[np.arange(600) % 5]
    frame.loc[frame["split"] == split, ["word", "number"]] = None
    frame["other"] = np.random.default_rng(1).normal(size=600).round(3)

    by_column = "split={kind: predefined, column: split}"
    nullable = [f"columns.{name}.nullable=true" for name in ("word", "number")]
    _, found = learned(frame, by_column, *nullable)

    assert len(found) == 600


def test_amounts_of_a_million_million_among_small_ones_are_learned(learned: Learned) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=500).round(4)
    y = 3 * x + random.normal(size=500).round(4) / 10
    y[[7, 77]] = 1e12
    frame = pd.DataFrame({"x": x, "word": random.choice(list("ab"), 500), "y": y})

    _, found = learned(frame)

    assert np.isfinite(found["prediction"]).all()


@pytest.mark.parametrize(
    "names",
    [
        ("0", "1"),
        ("1.5", "2.5"),
        ("true", "false"),
        ("no way", "0 %"),
        ("😀", "🤖"),
        ("a,b", 'c"d'),
    ],
)
def test_class_names_come_back_as_they_are(learned: Learned, names: tuple[str, str]) -> None:
    frame = _classes(300)
    frame["y"] = np.where(frame["y"] == "yes", *names)

    _, found = learned(frame, "data.task=binary", f"data.classes={_yaml(names)}")

    assert {str(value) for value in found["prediction"]} <= {*names, "True", "False"}


def _yaml(names: Any) -> str:
    import json

    return json.dumps(list(names), ensure_ascii=False)


def test_a_blank_class_is_no_value_and_what_is_left_of_the_target_never_changes(
    learned: Learned,
) -> None:
    frame = _classes(300)

    with pytest.raises(EvergreenError, match="every row that has a value has the same, 'x'"):
        learned(frame.assign(y=np.where(frame["y"] == "yes", " ", "x")))


@pytest.mark.slow
def test_five_hundred_numbers_and_five_hundred_words_are_learned(learned: Learned) -> None:
    random = np.random.default_rng(0)
    numbers = pd.DataFrame(random.normal(size=(300, 500)).round(3)).add_prefix("n")
    words = pd.DataFrame(random.choice(list("abc"), (300, 500))).add_prefix("w")
    frame = pd.concat([numbers, words], axis=1)
    frame["y"] = np.where(frame["n3"] > 0, "yes", "no")

    fitted, _ = learned(frame, "training.epochs=1")

    assert len(fitted.encoder.columns) == 1_000
