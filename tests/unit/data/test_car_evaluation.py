"""The built-in table is the published one, to the byte."""

import csv
import hashlib
import io
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline_lib.data.car_evaluation import ATTRIBUTES, TARGET, car_evaluation

PUBLISHED = Path(__file__).resolve().parents[4] / "shared" / "data" / "car_evaluation.csv"
SHA256 = "c685b4b7cae69bff2d4036c97bb85eef48c1492bd55c26db7e5759001db7d852"


def _as_csv(table: pa.Table) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.column_names)
    writer.writerows(zip(*table.to_pydict().values(), strict=True))
    return text.getvalue().encode()


def test_the_table_as_csv_has_the_sha256_of_the_published_file() -> None:
    written = _as_csv(car_evaluation())

    assert hashlib.sha256(written).hexdigest() == SHA256


def test_the_table_as_csv_is_the_published_file_byte_for_byte() -> None:
    if not PUBLISHED.exists():
        pytest.skip(f"the published table is not on this machine ({PUBLISHED})")

    assert _as_csv(car_evaluation()) == PUBLISHED.read_bytes()


def test_the_classes_have_the_published_counts() -> None:
    # UCI data set 19, car.names: class distribution.
    counts = Counter(car_evaluation()[TARGET].to_pylist())

    assert counts == {"unacc": 1210, "acc": 384, "good": 69, "vgood": 65}


def test_every_combination_of_the_six_attributes_stands_there_once() -> None:
    table = car_evaluation()

    rows = set(zip(*(table[name].to_pylist() for name in ATTRIBUTES), strict=True))

    assert table.num_rows == len(rows) == 4 * 4 * 4 * 3 * 3 * 3


def test_no_rating_falls_when_the_safety_rises() -> None:
    # The source is a decision model whose attributes are all ordered, worst first.
    order = {"unacc": 0, "acc": 1, "good": 2, "vgood": 3}
    table = car_evaluation()
    by_safety = {
        word: [
            order[label] for label in table.filter(pc.field("safety") == word)[TARGET].to_pylist()
        ]
        for word in ATTRIBUTES["safety"]
    }

    for low, med, high in zip(*by_safety.values(), strict=True):
        assert low <= med <= high


def test_every_column_is_text() -> None:
    assert {str(kind) for kind in car_evaluation().schema.types} == {"string"}
