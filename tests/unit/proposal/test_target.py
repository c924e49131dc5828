"""What a target asks for, or why it cannot be learned."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline_lib.encoding.log_scale import Floats
from pipeline_lib.errors import DataError, SourceError, UsageError
from tests.unit.proposal.proposals import LABELS, N, cycled, of, proposed, written


class TestTargets:
    @pytest.mark.parametrize(
        ("values", "classes"),
        [
            (("yes", "no", "no"), ("no", "yes")),
            (("yes", "yes", "no"), ("no", "yes")),
            (("0", "1", "1"), ("0", "1")),
            (("good", "good", "bad"), ("good", "bad")),
        ],
    )
    def test_of_two_classes_the_positive_or_else_the_rarer_one_is_last(
        self, tmp_path: Path, values: tuple[str, ...], classes: tuple[str, ...]
    ) -> None:
        found = of(tmp_path, cycled(*values), a=cycled("p", "q", "r", "s", "t"))

        assert found.config.data.task == "binary"
        assert found.config.data.classes == classes

    def test_grades_are_classes_in_the_order_of_their_numbers(self, tmp_path: Path) -> None:
        found = of(tmp_path, cycled("9", "10", "8"), a=cycled("p", "q", "r", "s", "t"))

        assert found.config.data.classes == ("8", "9", "10")
        assert "task: regression" in found.proposal.target.reason

    @pytest.mark.parametrize(
        ("of_normal", "scale"),
        [
            (np.exp, "auto"),
            (lambda z: 50 + 10 * z, "linear"),
            (lambda z: np.exp(z) - 0.2, "linear"),
            (lambda z: -np.exp(z), "linear"),
            (lambda z: np.where(np.arange(N) == 3, 1e12, 50 + 10 * z), "auto"),
            (lambda z: np.exp(z) * 1e100, "auto"),
        ],
        ids=["skewed", "symmetric", "below zero", "negative", "one outlier", "large"],
    )
    def test_the_log_scale_is_tried_where_numbers_are_skewed_and_all_above_0(
        self, tmp_path: Path, of_normal: Callable[[Floats], Floats], scale: str
    ) -> None:
        values = of_normal(np.random.default_rng(1).normal(size=N))

        found = of(tmp_path, [repr(v) for v in values.tolist()], a=cycled("p", "q", "r"))

        assert found.config.data.task == "regression"
        assert found.config.data.target_scale == scale
        assert ("target_scale: auto" in found.text) == (scale == "auto")

    @pytest.mark.parametrize(
        ("target", "why"),
        [
            ([""] * N, "no row has a value"),
            (["x"] * N, "has the same, 'x'"),
            ([f"u{i}" for i in range(N)], "400 different texts"),
            ([str(i) for i in range(N)], "counts the rows"),
            ([f"2024-01-{1 + i % 28:02d}" for i in range(N)], "it holds dates"),
            ([f"${i},000" for i in range(N)], "currency signs"),
            (
                ["lots" if i == 0 else str(i * 1.5) for i in range(N)],
                "the rest words such as 'lots'",
            ),
            ([""] * 5 + LABELS[5:], "5 of 400 rows have no value"),
            (["?"] * 5 + LABELS[5:], "5 of 400 rows have no value"),
            (["odd", "odd", "rare", *[""] * 2, *LABELS[5:]], "fewer than 3 rows, as 'odd'"),
            (["x"] * (N - 2) + ["odd", "rare"], "fewer than 3 rows, as 'odd'"),
        ],
    )
    def test_a_target_that_cannot_be_learned_is_refused_with_the_reason(
        self, tmp_path: Path, target: list[str], why: str
    ) -> None:
        with pytest.raises(DataError, match=re.escape(why)) as refused:
            of(tmp_path, target, a=cycled("p", "q", "r"))

        assert refused.value.exit_code == 3
        assert len(str(refused.value)) < 400

    @pytest.mark.parametrize(
        ("target", "aside"),
        [
            (["", *LABELS[1:]], "1 of 400 rows have no value"),
            (["?", *LABELS[1:]], "1 of 400 rows have no value"),
            (["odd", *LABELS[1:]], "1 row of classes that are too rare, 'odd'"),
            (
                ["", "odd", "odd", "rare", *LABELS[4:]],
                "1 of 400 rows have no value; 3 rows of classes that are too rare, 'odd', 'rare'",
            ),
            (["", *[str(i * 1.5) for i in range(1, N)]], "1 of 400 rows have no value"),
        ],
    )
    def test_a_few_rows_that_cannot_be_learned_go_into_quarantine(
        self, tmp_path: Path, target: list[str], aside: str
    ) -> None:
        found = of(tmp_path, target, a=cycled("p", "q", "r"))

        proposal = found.proposal
        assert proposal.target.aside == aside
        assert found.config.data.severity == "quarantine"
        assert proposal.data.severity == "quarantine"
        assert not {"odd", "rare", ""} & set(proposal.data.classes or ())
        assert f"y: {aside}; they go into quarantine (`data.severity`)" in proposal.notes

    def test_a_target_that_is_not_there_is_told_with_the_nearest(self, tmp_path: Path) -> None:
        path = written(tmp_path, {"a": cycled("p", "q"), "Income": LABELS})

        with pytest.raises(UsageError, match=r"did you mean Income\?"):
            proposed(path, "incme", tmp_path)

    def test_a_table_of_the_target_alone_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no column but 'y'"):
            proposed(written(tmp_path, {"y": LABELS}), "y", tmp_path)

    def test_a_table_without_a_usable_column_is_refused_with_each_reason(
        self, tmp_path: Path
    ) -> None:
        path = written(tmp_path, {"a": ["x"] * N, "b": [f"u{i}" for i in range(N)], "y": LABELS})

        with pytest.raises(DataError, match=r"a: always 'x'; b: 400 different values"):
            proposed(path, "y", tmp_path)

    def test_names_that_stand_twice_are_the_source_s_to_refuse(self, tmp_path: Path) -> None:
        (tmp_path / "toy.csv").write_text("a,a,y\n" + "1,2,x\n" * 30)

        with pytest.raises(SourceError, match="stand twice: 'a'"):
            proposed(tmp_path / "toy.csv", "y", tmp_path)
