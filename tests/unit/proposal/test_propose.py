"""What is proposed for tables: real ones, odd ones, and targets that nobody can learn."""

import csv
import io
import re
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config import PipelineConfig, load_config
from pipeline_lib.config.columns import DatetimeColumn
from pipeline_lib.config.sources import CsvFile, ParquetFile
from pipeline_lib.errors import DataError, SourceError, UsageError
from pipeline_lib.proposal.config_yaml import config_text, scalar
from pipeline_lib.proposal.propose import Proposal, propose
from pipeline_lib.proposal.sniff import guess_source
from tests.unit.data.in_memory import check_rows, read_source

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
N = 400
LABELS = ["no", "yes", "no", "no"] * (N // 4)


@dataclass(frozen=True)
class Proposed:
    """A proposal, and the config that came of it."""

    proposal: Proposal
    text: str
    config: PipelineConfig

    @property
    def kinds(self) -> dict[str, str]:
        return {name: column.kind for name, column in self.config.columns.items()}

    @property
    def left_out(self) -> dict[str, str]:
        return {c.name: c.reason for c in self.proposal.left_out}

    def reason(self, name: str) -> str:
        return next(c.reason for c in self.proposal.columns if c.name == name)


def proposed(path: Path, target: str, folder: Path) -> Proposed:
    """Propose a config for a file, load it, and hold the file to it."""
    guessed = guess_source(str(path), root=folder)
    rows = read_source(guessed.source, root=folder)
    proposal = propose(rows, guessed.source, target, name="toy", notes=guessed.notes)
    text = config_text(proposal)
    (folder / "toy.yaml").write_text(text, encoding="utf-8")
    config = load_config(folder / "toy.yaml")
    columns, data = config.columns, config.data
    check_rows(read_source(data.source, root=folder), columns, data, config.validation, source="it")
    return Proposed(proposal, text, config)


def written(folder: Path, columns: dict[str, list[str]], delimiter: str = ",") -> Path:
    text = io.StringIO()
    rows = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    rows.writerow(columns)
    rows.writerows(zip(*columns.values(), strict=True))
    path = folder / "toy.csv"
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


def of(folder: Path, target: list[str] | None = None, **columns: list[str]) -> Proposed:
    """Propose for a CSV file with these columns, a plain feature and a target `y`."""
    filler = {"plain": [f"{v:.3f}" for v in np.random.default_rng(0).normal(size=N)]}
    path = written(folder, {**columns, **filler, "y": LABELS if target is None else target})
    return proposed(path, "y", folder)


def cycled(*values: str) -> list[str]:
    return [values[(i * 7 + i // 11) % len(values)] for i in range(N)]


def real(name: str, target: str, folder: Path) -> Proposed:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return proposed(path, target, folder)


class TestRealTables:
    def test_adult_income(self, tmp_path: Path) -> None:
        found = real("adult_income.csv", "income", tmp_path)

        source = found.config.data.source
        assert isinstance(source, CsvFile)
        assert source.trim
        assert source.null_values == ("", "?")
        assert found.config.data.classes == ("<=50K", ">50K")
        assert found.config.data.task == "binary"
        numbers = {"fnlwgt", "capital-gain", "capital-loss", "hours-per-week", "age"}
        assert {n for n, kind in found.kinds.items() if kind == "number"} == numbers
        assert set(found.kinds.values()) == {"number", "category"}
        assert len(found.kinds) == 14
        nullable = {n for n, c in found.config.columns.items() if c.nullable}
        assert nullable == {"workclass", "occupation", "native-country"}
        assert any("education and education-num" in note for note in found.proposal.notes)

    def test_bike_hour(self, tmp_path: Path) -> None:
        found = real("bike_hour.csv", "cnt", tmp_path)

        leak = "leaks: cnt = casual + registered, exactly"
        assert found.left_out == {
            "instant": "counts the rows: 1 to 17379",
            "casual": leak,
            "registered": leak,
        }
        assert found.config.data.task == "regression"
        assert found.config.data.time == "dteday"
        assert found.config.data.key == ()
        codes = ("season", "mnth", "hr", "weekday", "weathersit", "time_segment", "day_type")
        assert found.kinds == {
            "dteday": "datetime",
            **dict.fromkeys(codes, "category"),
            **dict.fromkeys(("yr", "holiday", "workingday"), "boolean"),
            **dict.fromkeys(("temp", "atemp", "hum", "windspeed"), "number"),
        }
        assert f"  #casual: {{kind: number, minimum: 0}}" in found.text  # noqa: F541
        assert "#split: {kind: time, val_days: 110, test_days: 110}" in found.text

    def test_diamonds(self, tmp_path: Path) -> None:
        found = real("diamonds.csv", "price", tmp_path)

        assert found.left_out == {}
        assert {n for n, kind in found.kinds.items() if kind == "category"} == {
            "cut",
            "color",
            "clarity",
        }
        assert found.config.columns["cut"].model_dump()["allowed"] == (
            *("Fair", "Good", "Ideal", "Premium", "Very Good"),
        )

    def test_open_payments(self, tmp_path: Path) -> None:
        found = real("open_payments.csv", "status", tmp_path)

        assert found.left_out == {}
        assert found.config.data.classes == ("disallowed", "allowed")
        assert found.kinds["Dispute_Status_for_Publication"] == "boolean"
        drug = found.config.columns["Name_of_Associated_Covered_Drug_or_Biological1"]
        assert drug.nullable
        assert drug.model_dump()["min_count"] == 5

    def test_car_evaluation(self, tmp_path: Path) -> None:
        found = real("car_evaluation.csv", "output", tmp_path)

        assert set(found.kinds.values()) == {"category"}
        assert found.config.data.task == "multiclass"
        assert found.left_out == {}

    def test_an_arff_file_is_called_by_its_name(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="is an ARFF file, not CSV"):
            real("nursery.arff", "class", tmp_path)


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    day = date(2024, 1, 1)
    table = pa.table(
        {
            "whole": pa.array([i % 200 for i in range(N)], pa.int32()),
            "flag": pa.array([i % 3 == 0 for i in range(N)]),
            "when": pa.array([day + timedelta(days=i % 90) for i in range(N)]),
            "gaps": pa.array([None if i % 5 == 0 else float(i % 3) for i in range(N)]),
            "many": pa.array([[1, 2]] * N),
            "word": pa.array(cycled("a", "b", "c")).dictionary_encode(),
            "y": pa.array(LABELS),
        }
    )
    pq.write_table(table, tmp_path / "toy.data")

    found = proposed(tmp_path / "toy.data", "y", tmp_path)

    assert found.kinds == {
        "whole": "number",
        "flag": "boolean",
        "when": "datetime",
        "gaps": "category",
        "word": "category",
    }
    assert "list<" in found.left_out["many"]


@pytest.mark.parametrize("nothing", ["", "NA", "?"])
def test_fields_in_quotes_can_hold_no_values(tmp_path: Path, nothing: str) -> None:
    text = io.StringIO()
    rows = csv.writer(text, quoting=csv.QUOTE_ALL)
    rows.writerow(["size", "day", "word", "y"])
    rows.writerows(
        zip(
            cycled(nothing, "1.5", "2", "3"),
            cycled(nothing, "2026-05-01", "2026-05-02"),
            cycled(nothing, "a", "b"),
            LABELS,
            strict=True,
        )
    )
    path = tmp_path / "toy.csv"
    path.write_text(text.getvalue())

    found = proposed(path, "y", tmp_path)

    assert all(column.nullable for column in found.config.columns.values())
    assert found.kinds["day"] == "datetime"
    assert found.kinds["word"] == "category"


def test_two_columns_whose_every_value_stands_once_are_not_told_to_say_the_same(
    tmp_path: Path,
) -> None:
    other = [f"{v:.4f}" for v in np.random.default_rng(1).normal(size=N)]

    found = of(tmp_path, other=other, word=cycled("a", "b", "c"), WORD2=cycled("x", "y", "z"))

    assert found.proposal.notes == ("word and WORD2 have the same values in other words",)


class TestNullWords:
    def test_a_word_among_numbers_is_no_value(self, tmp_path: Path) -> None:
        found = of(tmp_path, a=["NA" if i % 9 == 0 else str(i * 3.5) for i in range(N)])

        assert found.kinds["a"] == "number"
        assert found.config.columns["a"].nullable
        assert found.config.data.source.model_dump()["null_values"] == ("", "NA")
        assert "'NA' counts as no value, in a" in found.proposal.notes

    def test_namibia_among_countries_is_a_country(self, tmp_path: Path) -> None:
        found = of(tmp_path, a=cycled("DE", "NA", "FR"))

        assert found.config.data.source.model_dump()["null_values"] == ("",)
        assert not found.config.columns["a"].nullable

    def test_a_class_called_none_stays_a_class(self, tmp_path: Path) -> None:
        numbers = ["None" if i % 9 == 0 else str(i * 3.5) for i in range(N)]

        found = of(tmp_path, cycled("None", "mild", "severe"), a=numbers)

        assert found.config.data.classes == ("None", "mild", "severe")
        assert "a" in found.left_out


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


class TestDates:
    DAYS = tuple(date(2023, 1, 1) + timedelta(days=i * 3) for i in range(N))

    @pytest.mark.parametrize(
        "form",
        ["%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y%m%d", "%d-%b-%Y", "%B %d, %Y", "%d/%m/%Y %H:%M"],
    )
    def test_a_format_is_found(self, tmp_path: Path, form: str) -> None:
        found = of(tmp_path, a=[day.strftime(form) for day in self.DAYS])

        column = found.config.columns["a"]
        assert isinstance(column, DatetimeColumn)
        assert column.format == found.config.data.time_format
        assert [n for n in found.proposal.notes if "guess" in n] == []
        read = column.format or ""
        assert [day.strftime(read.replace(" %H:%M", "")) for day in self.DAYS] == [
            day.strftime(form.replace(" %H:%M", "")) for day in self.DAYS
        ]

    @pytest.mark.parametrize("clock", ["", " 10:30", "T10:30:00Z", "T10:30:00+01:00"])
    def test_iso_needs_no_format(self, tmp_path: Path, clock: str) -> None:
        column = of(tmp_path, a=[f"{day}{clock}" for day in self.DAYS]).config.columns["a"]

        assert isinstance(column, DatetimeColumn)
        assert column.format is None
        assert ("hour" in column.parts) == bool(clock)

    def test_days_and_months_that_could_be_swapped_are_told(self, tmp_path: Path) -> None:
        days = [date(2023, 1 + i % 12, 1 + i % 11) for i in range(N)]

        found = of(tmp_path, a=[day.strftime("%d/%m/%Y") for day in days])

        (note,) = [note for note in found.proposal.notes if "guess" in note]
        assert "%m/%d/%Y and %d/%m/%Y both fit" in note

    def test_dates_in_two_formats_are_left_out(self, tmp_path: Path) -> None:
        mixed = [
            day.isoformat() if i % 2 else day.strftime("%d.%m.%Y")
            for i, day in enumerate(self.DAYS)
        ]

        found = of(tmp_path, a=mixed)

        assert "dates in several formats" in found.left_out["a"]


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


class TestText:
    NAMES = ("on", "null", "1", "a: b", "#x", "é", "yes", "~", "- a", "{x}", "a, b", "'q'", '"q"')

    def test_names_and_words_that_yaml_could_take_for_something_else_survive(
        self, tmp_path: Path
    ) -> None:
        columns = {name: cycled(f"{name}!", "other", "=") for name in self.NAMES}
        path = written(tmp_path, {**columns, "y: #": cycled("no", "~", "a: b", "#")})

        found = proposed(path, "y: #", tmp_path)

        assert tuple(found.config.columns) == self.NAMES
        assert found.config.data.target == "y: #"
        assert found.config.data.classes == ("#", "a: b", "no", "~")
        assert set(found.kinds.values()) == {"category"}

    @given(st.text(min_size=1).filter(lambda text: text.isprintable()) | st.text(min_size=1))
    def test_any_text_comes_back_from_yaml_as_it_was(self, text: str) -> None:
        from ruamel.yaml import YAML

        loaded = YAML(typ="rt").load(f"{{{scalar(text)}: [{scalar(text)}]}}  # and a comment")

        assert loaded == {text: [text]}

    def test_a_column_left_out_counts_without_its_mark(self, tmp_path: Path) -> None:
        y = np.random.default_rng(3).normal(size=N)
        found = of(
            tmp_path,
            [str(v) for v in y],
            leak=[str(2 * v) for v in y],
            same=["x"] * N,
            ids=[f"u{i}" for i in range(N)],
            money=[f"${i}" for i in range(N)],
            mixed=["n.v." if i % 50 == 0 else str(i) for i in range(N)],
        )
        taken = re.sub(r"(?m)^  #(?=\S+: \{)", "  ", found.text)
        (tmp_path / "taken.yaml").write_text(taken)

        config = load_config(tmp_path / "taken.yaml")

        assert len(found.left_out) == 5
        assert set(config.columns) == set(found.left_out) | {"plain"}
        rows = read_source(config.data.source, root=tmp_path)
        check_rows(rows, config.columns, config.data, config.validation, source="all of it")

    def test_a_word_with_line_breaks_stays_in_its_comment(self, tmp_path: Path) -> None:
        found = of(tmp_path, a=["x\n  evil: {kind: number}\u2028y"] * N)

        assert "evil" in found.text
        assert set(found.config.columns) == {"plain"}
