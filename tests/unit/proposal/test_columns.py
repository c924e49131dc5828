"""The part that a column could play, with its bounds."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config.sources import CsvFile, ParquetFile
from pipeline_lib.proposal.propose import propose
from tests.unit.proposal.proposals import N, cycled, of


class TestKindsOfColumns:
    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            (("yes", "No"), "boolean"),
            (("T", "F"), "boolean"),
            (("0", "1"), "boolean"),
            (("1", "2"), "category"),
            (("m", "f"), "category"),
            (("red", "green", "blue"), "category"),
            (tuple(str(i) for i in range(24)), "category"),
            (tuple(str(i) for i in range(120)), "number"),
            (tuple(str(i * 100) for i in range(12)), "number"),
            (("0.5", "1.5", "1e3"), "number"),
            (("-1", "0", "1"), "category"),
        ],
    )
    def test_few_values_tell_the_kind(
        self, tmp_path: Path, values: tuple[str, ...], kind: str
    ) -> None:
        assert of(tmp_path, a=cycled(*values)).kinds["a"] == kind

    def test_zip_codes_with_leading_zeros_are_words(self, tmp_path: Path) -> None:
        found = of(tmp_path, a=cycled(*(f"{i:05d}" for i in range(8100, 8200))))

        assert found.kinds["a"] == "category"
        assert "leading zeros" in found.reason("a")

    def test_whole_numbers_beyond_2_to_the_53_are_never_numbers(self, tmp_path: Path) -> None:
        found = of(tmp_path, a=cycled(*(str(2**60 + i) for i in range(100))))

        assert found.kinds["a"] == "category"
        assert "2^53" in found.reason("a")

    def test_the_number_of_a_customer_is_a_name(self, tmp_path: Path) -> None:
        found = of(tmp_path, customerId=cycled(*(str(7919 * i) for i in range(90))))

        assert found.kinds["customerId"] == "category"

    @pytest.mark.parametrize(
        ("form", "what"),
        [
            ("1,{}.5", "thousands separators"),
            ("${}2", "currency signs"),
            ("{} EUR", "currency signs"),
            ("{}.5%", "percent signs"),
            ("{},75", "decimal commas"),
        ],
    )
    def test_numbers_that_are_not_written_plainly_are_left_out(
        self, tmp_path: Path, form: str, what: str
    ) -> None:
        found = of(tmp_path, a=[form.format(100 + i % 90) for i in range(N)])

        assert what in found.reason("a")
        assert found.kinds.get("a") in (None, "category")

    def test_money_in_words_that_is_the_target_again_leaks(self, tmp_path: Path) -> None:
        y = np.random.default_rng(3).integers(100, 10**6, N)

        found = of(tmp_path, [str(v) for v in y], a=[f"${v:,}" for v in y])

        assert found.left_out["a"] == "leaks: y = a, exactly"

    def test_numbers_with_a_few_words_are_left_out_with_the_words(self, tmp_path: Path) -> None:
        found = of(tmp_path, a=["n.v." if i % 50 == 0 else str(i) for i in range(N)])

        assert "numbers in 98.0% of the rows" in found.left_out["a"]
        assert "'n.v.'" in found.left_out["a"]

    def test_a_unique_id_becomes_the_key(self, tmp_path: Path) -> None:
        found = of(tmp_path, a=[f"u{i * 37:x}" for i in range(N)])

        assert found.config.data.key == ("a",)
        assert "it identifies rows" in found.left_out["a"]

    def test_a_counter_becomes_no_key_until_somebody_says_so(self, tmp_path: Path) -> None:
        found = of(tmp_path, a=[str(i + 1) for i in range(N)])

        assert found.config.data.key == ()
        assert "  #key: [a]" in found.text

    def test_a_counter_that_restarts_is_not_even_a_candidate(self, tmp_path: Path) -> None:
        found = of(tmp_path, a=[str(i % 200 + 1) for i in range(N)])

        assert "key" not in found.text

    def test_a_million_different_ids_are_one_id(self) -> None:
        ids = np.char.mod("%08x", np.random.default_rng(0).permutation(1_000_000))
        y = np.array(["a", "b"])[np.random.default_rng(1).integers(0, 2, 1_000_000)]
        table = pa.table({"a": pa.array(ids), "b": pa.array(np.roll(y, 1)), "y": pa.array(y)})

        found = propose(table, CsvFile(path="x.csv"), "y", name="toy")

        assert {c.name: c.part for c in found.columns} == {"a": "id", "b": "feature"}
        assert found.data.key == ("a",)

    def test_very_many_words_that_come_back_are_hashed(self) -> None:
        words = np.char.mod("w%d", np.random.default_rng(0).integers(0, 60_000, 300_000))
        y = np.array(["a", "b"])[np.random.default_rng(1).integers(0, 2, 300_000)]

        found = propose(pa.table({"a": words, "y": y}), CsvFile(path="x.csv"), "y", name="toy")

        assert found.features["a"].kind == "hash"
        assert "too many for a vocabulary" in found.columns[0].reason

    def test_free_text_is_left_out(self, tmp_path: Path) -> None:
        found = of(tmp_path, a=[f"the customer number {i} was not happy at all" for i in range(N)])

        assert "free text" in found.left_out["a"]

    def test_columns_without_use_are_left_out_with_the_reason(self, tmp_path: Path) -> None:
        found = of(
            tmp_path,
            empty=[""] * N,
            same=["x"] * N,
            rare=["7" if i < 3 else "" for i in range(N)],
        )

        assert found.left_out == {
            "empty": "no value in any row",
            "same": "always 'x'",
            "rare": "only 3 rows of 400 have a value",
        }

    @pytest.mark.parametrize(
        "words",
        [
            ("north", "south"),
            ("Berlin", "Hamburg", "Ulm"),
            ("low", "high"),
            ("low", "med", "high", "extreme"),
            ("2026-10", "2026-11"),
            ("Mon", "Tue", "Wed", "Thu", "Fri"),
            ("male", "female"),
            ("S", "M", "L"),
            ("1", "2", "3"),
            ("2", "3", "4", "5more"),
            ("rare", "often"),
        ],
        ids="-".join,
    )
    def test_few_words_are_no_reason_to_refuse_another(
        self, tmp_path: Path, words: tuple[str, ...]
    ) -> None:
        found = of(tmp_path, a=cycled(*words))

        column = found.config.columns["a"].model_dump()
        assert (column["kind"], column["allowed"], column["on_unknown"]) == (
            *("category", None, "bucket"),
        )

    @pytest.mark.parametrize(
        "words",
        [
            ("low", "med", "high"),
            ("vhigh", "high", "med", "low"),
            ("Very Low", "Low", "Medium", "High", "Very High"),
            ("small", "med", "big"),
            ("ja", "nein"),
            ("mon", "tue", "wed", "thu", "fri", "sat", "sun"),
            ("Q1", "Q2", "Q3", "Q4"),
        ],
        ids="-".join,
    )
    def test_a_scale_that_is_there_from_end_to_end_is_closed(
        self, tmp_path: Path, words: tuple[str, ...]
    ) -> None:
        found = of(tmp_path, a=cycled(*words))

        assert set(found.config.columns["a"].model_dump()["allowed"]) == set(words)
        assert "a whole scale" in found.reason("a")

    @pytest.mark.parametrize(
        ("words", "order"),
        [
            (("med", "high", "low"), ("low", "med", "high")),
            (("vhigh", "high", "med", "low"), ("low", "med", "high", "vhigh")),
            (("med", "low", "high", "vlow"), ("vlow", "low", "med", "high")),
            (("Big", "Small", "Med"), ("Small", "Med", "Big")),
            (
                ("Premium", "Fair", "Ideal", "Good", "Very Good"),
                ("Fair", "Good", "Very Good", "Premium", "Ideal"),
            ),
        ],
        ids="-".join,
    )
    def test_a_whole_ordinal_scale_is_ranked(
        self, tmp_path: Path, words: tuple[str, ...], order: tuple[str, ...]
    ) -> None:
        found = of(tmp_path, a=cycled(*words))

        assert found.config.columns["a"].model_dump()["order"] == order
        assert "ranks" in found.reason("a")

    @pytest.mark.parametrize(
        "words",
        [
            ("ja", "nein"),
            ("mon", "tue", "wed", "thu", "fri", "sat", "sun"),
            ("spring", "summer", "autumn", "winter"),
            ("Q1", "Q2", "Q3", "Q4"),
            ("low", "high"),
            ("low", "med", "high", "extreme"),
            ("2", "3", "4", "5more"),
            ("S", "M", "L"),
        ],
        ids="-".join,
    )
    def test_words_without_a_well_known_order_get_none(
        self, tmp_path: Path, words: tuple[str, ...]
    ) -> None:
        found = of(tmp_path, a=cycled(*words))

        assert "order" not in found.config.columns["a"].model_dump()

    def test_a_few_whole_numbers_are_words_and_numbers_at_once(self, tmp_path: Path) -> None:
        found = of(
            tmp_path,
            a=cycled("1", "2", "3", "4"),
            b=cycled("3", "4"),
            zip=cycled("70173", "70174", "70175"),
        )

        columns = {name: column.model_dump() for name, column in found.config.columns.items()}
        assert {name: column.get("order") for name, column in columns.items()} == {
            "a": "numeric",
            "b": None,
            "zip": None,
            "plain": None,
        }
        assert columns["a"]["kind"] == "category"
        assert "order: numeric" in found.text
        assert "both word and number" in found.reason("a")

    def test_money_may_flow_back(self, tmp_path: Path) -> None:
        values = [f"{v:.2f}" for v in np.random.default_rng(2).exponential(5, N)]

        found = of(tmp_path, amount=values, weight=values[::-1])

        assert found.config.columns["amount"].model_dump()["minimum"] is None
        assert found.config.columns["weight"].model_dump()["minimum"] == 0

    def test_heavy_tails_are_scaled_by_quartiles_and_that_is_said(self, tmp_path: Path) -> None:
        values = np.random.default_rng(5).lognormal(3, 2, N)

        found = of(tmp_path, a=[f"{v:.4f}" for v in values])

        assert found.config.columns["a"].model_dump()["scaling"]["kind"] == "robust"
        assert found.config.columns["plain"].model_dump()["scaling"]["kind"] == "standard"
        assert "far out" in found.reason("a")


class TestBounds:
    @given(seed=st.integers(0, 2**20), mean=st.floats(0, 8), shape=st.sampled_from("nlue"))
    def test_a_second_sample_keeps_the_bounds_of_the_first(
        self, seed: int, mean: float, shape: str
    ) -> None:
        random = np.random.default_rng(seed)
        draw = {
            "n": lambda: random.normal(mean, 1, 1000),
            "l": lambda: random.lognormal(mean, 1, 1000),
            "u": lambda: random.uniform(0, mean + 1, 1000),
            "e": lambda: random.exponential(mean + 1, 1000),
        }[shape]
        table = pa.table({"a": draw(), "y": np.arange(1000) % 2})

        found = propose(table, ParquetFile(path="x"), "y", name="toy")

        column = found.features["a"].model_dump()
        assert column["maximum"] is None
        if column["minimum"] is not None:
            assert min(draw().min() for _ in range(10)) >= column["minimum"]

    def test_what_piles_up_above_zero_has_zero_as_its_minimum(self, tmp_path: Path) -> None:
        values = np.random.default_rng(2).exponential(5, N)

        found = of(
            tmp_path, a=[f"{v:.3f}" for v in values], temp=[f"{v:.2f}" for v in values[::-1]]
        )

        assert found.config.columns["a"].model_dump()["minimum"] == 0
        assert found.config.columns["temp"].model_dump()["minimum"] is None

    def test_a_percentage_lies_between_0_and_100(self, tmp_path: Path) -> None:
        column = of(tmp_path, fill_percent=[f"{40 + i % 53}.5" for i in range(N)]).config.columns

        assert column["fill_percent"].model_dump()["minimum"] == 0
        assert column["fill_percent"].model_dump()["maximum"] == 100
