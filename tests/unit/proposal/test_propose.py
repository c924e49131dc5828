"""What is proposed for whole tables: real ones, and odd ones."""

import csv
import io
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline_lib.config.sources import CsvFile
from pipeline_lib.errors import SourceError
from tests.unit.proposal.proposals import (
    LABELS,
    N,
    cycled,
    of,
    proposed,
    real,
)


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
        assert found.config.data.target_scale == "auto"
        codes = ("season", "mnth", "hr", "weekday", "weathersit", "time_segment", "day_type")
        assert found.kinds == {
            "dteday": "datetime",
            **dict.fromkeys(codes, "category"),
            **dict.fromkeys(("yr", "holiday", "workingday"), "boolean"),
            **dict.fromkeys(("temp", "atemp", "hum", "windspeed"), "number"),
        }
        ranked = {n for n, c in found.config.columns.items() if "order" in c.model_dump()}
        assert ranked == {"season", "mnth", "hr", "weekday", "weathersit"}
        assert f"  #casual: {{kind: number, minimum: 0}}" in found.text  # noqa: F541
        assert "#split: {kind: time, val_days: 110, test_days: 110}" in found.text

    def test_diamonds(self, tmp_path: Path) -> None:
        found = real("diamonds.csv", "price", tmp_path)

        assert found.left_out == {}
        assert found.config.data.target_scale == "auto"
        assert "# all above 0 with skewness 1.6: the validation rows choose" in found.text
        assert {n for n, kind in found.kinds.items() if kind == "category"} == {
            "cut",
            "color",
            "clarity",
        }
        assert found.config.columns["cut"].model_dump()["allowed"] == (
            *("Fair", "Good", "Ideal", "Premium", "Very Good"),
        )
        assert found.config.columns["cut"].model_dump()["order"] == (
            *("Fair", "Good", "Very Good", "Premium", "Ideal"),
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
        dumps = {n: c.model_dump().get("order") for n, c in found.config.columns.items()}
        assert {n: order for n, order in dumps.items() if order} == {
            **dict.fromkeys(("price", "maint"), ("low", "med", "high", "vhigh")),
            "lug_capacity": ("small", "med", "big"),
            "safety": ("low", "med", "high"),
        }

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
