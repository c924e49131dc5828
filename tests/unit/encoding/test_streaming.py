"""Batch by batch and segment by segment comes out what encoding whole tables does, to the bit."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_lib.config.columns import (
    BooleanColumn,
    CategoryColumn,
    Column,
    DatetimeColumn,
    EncodingSettings,
    HashColumn,
    NumberColumn,
    QuantileScaling,
    RobustScaling,
)
from pipeline_lib.data.splits.assign import SPLITS
from pipeline_lib.encoding import (
    ClassTarget,
    EncodedSplit,
    Encoder,
    NumberTarget,
    Standardizer,
    Target,
    read_split,
)
from pipeline_lib.encoding.hashing import HashInput
from pipeline_lib.encoding.segments import Segment, read_segment, write_segment
from pipeline_lib.encoding.streaming import Counted, NumberedRows
from pipeline_lib.errors import UnknownCategoryError

TODAY = "2026-01-01"
FEATURES: dict[str, Column] = {
    "..": CategoryColumn(nullable=True),
    "num:0": NumberColumn(nullable=True),
    "cat:x": CategoryColumn(nullable=True),
    "y": NumberColumn(),
}
CLASSES: dict[str, Column] = {**FEATURES, "label": CategoryColumn()}
NUMBERS: dict[str, Column] = {**FEATURES, "label": NumberColumn()}

words = st.none() | st.sampled_from(["a", "b", "c", "", " ", "nan", "é", "e\u0301"])
floats = st.floats(-1e6, 1e6, width=32)


@dataclass(frozen=True)
class Drawn:
    """A table, where its batches and its segments end, and the split of each row."""

    rows: pa.Table
    cuts: tuple[int, ...]
    segment_cuts: tuple[int, ...]
    splits: npt.NDArray[np.int8]
    as_dictionaries: bool

    def segments(self) -> list[list[pa.Table]]:
        """Return the batches of each segment; some are empty."""
        bounds = [0, *self.segment_cuts, self.rows.num_rows]
        return [self._batches(start, stop) for start, stop in itertools.pairwise(bounds)]

    def _batches(self, start: int, stop: int) -> list[pa.Table]:
        inner = [start, *(cut for cut in self.cuts if start <= cut <= stop), stop]
        return [
            self._as_read(self.rows.slice(first, last - first))
            for first, last in itertools.pairwise(inner)
        ]

    def _as_read(self, batch: pa.Table) -> pa.Table:
        if not self.as_dictionaries:
            return batch
        columns = [
            column.dictionary_encode() if pa.types.is_string(column.type) else column
            for column in batch.columns
        ]
        return pa.table(columns, batch.column_names)


@st.composite
def tables(draw: st.DrawFn, *, task: str) -> Drawn:
    """Draw rows of which some train; each class of a classification has a training row."""
    n = draw(st.integers(1, 30))

    def column(values: st.SearchStrategy[object]) -> list[object]:
        return draw(st.lists(values, min_size=n, max_size=n))

    labels = st.sampled_from("pqr") if task == "classification" else floats
    rows = {
        "..": pa.array(column(words), pa.string()),
        "num:0": pa.array(column(st.none() | floats), pa.float64()),
        "cat:x": pa.array(column(words), pa.string()),
        "y": pa.array(column(floats), pa.float64()),
        "label": pa.array(column(labels)),
    }
    splits = np.array(column(st.integers(-1, 2)), np.int8)
    if task == "classification":
        known = rows["label"].filter(pa.array(splits == 0)).unique().to_pylist()
        is_known = np.array([label in known for label in rows["label"].to_pylist()])
        splits[~is_known] = -1
    cuts = st.lists(st.integers(0, n), max_size=5).map(lambda cuts: tuple(sorted(cuts)))
    return Drawn(pa.table(rows), draw(cuts), draw(cuts), splits, draw(st.booleans()))


def _segments(
    folder: Path, drawn: Drawn, columns: Mapping[str, Column], compression: str | None = None
) -> list[Segment]:
    segments: list[Segment] = []
    for number, batches in enumerate(drawn.segments()):
        place = folder / str(number)
        place.mkdir(exist_ok=True)
        segments.append(write_segment(place, batches, columns, compression=compression))
    return segments


def _target(counted: Counted, columns: Mapping[str, Column]) -> Target:
    if isinstance(columns["label"], CategoryColumn):
        return ClassTarget("label", tuple(sorted(counted.used["label"].held())))
    scale = counted.fitters["label"].finish()
    assert isinstance(scale, Standardizer)
    return NumberTarget("label", scale.mean, scale.deviation)


def _streamed(
    folder: Path,
    drawn: Drawn,
    columns: Mapping[str, Column],
    segments: Sequence[Segment] | None = None,
    encoding: EncodingSettings | None = None,
) -> tuple[Encoder, Target, dict[str, EncodedSplit]]:
    """Encode by the three steps of a night."""
    segments = segments or _segments(folder, drawn, columns)
    numbered = NumberedRows(segments, columns, drawn.splits)
    counted = numbered.count()
    target = _target(counted, columns)
    features = {name: column for name, column in columns.items() if name != "label"}
    fitters = {name: fitter for name, fitter in counted.fitters.items() if name != "label"}
    encoder = Encoder.of_counts(features, counted.train, fitters, today=TODAY, encoding=encoding)
    codes = numbered.codes(encoder)
    numbered.refuse_unknown(encoder, counted, codes)
    numbered.write(folder, encoder, target, codes)
    return encoder, target, {n: read_split(folder / f"{n}.parquet", encoder) for n in SPLITS}


def _in_memory(drawn: Drawn, encoder: Encoder, target: Target) -> dict[str, EncodedSplit]:
    return {
        name: EncodedSplit.of(drawn.rows.filter(pa.array(drawn.splits == number)), encoder, target)
        for number, name in enumerate(SPLITS)
    }


def _bits(split: EncodedSplit) -> list[tuple[object, ...]]:
    arrays = (split.x_cat, split.x_num, split.y)
    return [(array.shape, array.dtype, array.tobytes()) for array in arrays]


def _fitted(drawn: Drawn, columns: Mapping[str, Column], **how: int | None) -> Encoder:
    features = {name: column for name, column in columns.items() if name != "label"}
    return Encoder.fit(
        drawn.rows.filter(pa.array(drawn.splits == 0)),
        features,
        today=TODAY,
        encoding=EncodingSettings.model_validate(how),
    )


@pytest.mark.parametrize("compression", [None, "lz4"])
@given(tables(task="classification"))
def test_streamed_classes_and_codes_are_those_of_whole_tables(
    tmp_path: Path, compression: str | None, drawn: Drawn
) -> None:
    segments = _segments(tmp_path, drawn, CLASSES, compression)
    encoder, target, splits = _streamed(tmp_path, drawn, CLASSES, segments)

    whole = _fitted(drawn, CLASSES)
    for name in whole.vocabularies:
        one, other = encoder.vocabularies[name], whole.vocabularies[name]
        assert one.categories.equals(other.categories)
        assert (one.counts.tolist(), one.n_missing) == (other.counts.tolist(), other.n_missing)
    expected = _in_memory(drawn, replace(whole, float_inputs=encoder.float_inputs), target)
    assert {n: _bits(s) for n, s in splits.items()} == {n: _bits(s) for n, s in expected.items()}


@given(tables(task="regression"))
def test_streamed_numbers_are_those_of_whole_tables(tmp_path: Path, drawn: Drawn) -> None:
    encoder, target, splits = _streamed(tmp_path, drawn, NUMBERS)

    expected = _in_memory(drawn, encoder, target)
    assert {n: _bits(s) for n, s in splits.items()} == {n: _bits(s) for n, s in expected.items()}
    whole = _fitted(drawn, NUMBERS)
    for name, inputs in whole.float_inputs.items():
        ours = encoder.float_inputs[name]
        assert isinstance(ours, Standardizer)
        assert isinstance(inputs, Standardizer)
        assert ours.mean == pytest.approx(inputs.mean, rel=1e-12, abs=1e-9)
        assert ours.deviation == pytest.approx(inputs.deviation, rel=1e-9)


@given(tables(task="classification"), st.integers(1, 4), st.none() | st.integers(1, 3))
def test_rare_words_and_too_many_are_the_same_ones(
    tmp_path: Path, drawn: Drawn, min_count: int, max_size: int | None
) -> None:
    how = {"min_count": min_count, "max_size": max_size}
    encoding = EncodingSettings.model_validate(how)
    encoder, target, splits = _streamed(tmp_path, drawn, CLASSES, encoding=encoding)

    whole = replace(_fitted(drawn, CLASSES, **how), float_inputs=encoder.float_inputs)

    assert whole.fingerprint() == encoder.fingerprint()
    for name, split in _in_memory(drawn, whole, target).items():
        assert _bits(split) == _bits(splits[name])


def _stops(encode: Callable[[], object]) -> bool:
    try:
        encode()
    except UnknownCategoryError:
        return True
    return False


@given(tables(task="classification"))
def test_an_unknown_category_stops_both_ways_or_neither(tmp_path: Path, drawn: Drawn) -> None:
    strict: dict[str, Column] = {
        **CLASSES,
        "..": CategoryColumn(nullable=True, on_unknown="error"),
        "cat:x": CategoryColumn(nullable=True, on_unknown="error"),
    }
    whole = _fitted(drawn, strict)
    classes = ClassTarget("label", ("p", "q", "r"))

    streamed = _stops(lambda: _streamed(tmp_path, drawn, strict))

    assert streamed is _stops(lambda: _in_memory(drawn, whole, classes))


def test_an_unknown_category_is_told_with_its_words_and_rows_unused_rows_aside(
    tmp_path: Path,
) -> None:
    columns: dict[str, Column] = {
        "color": CategoryColumn(on_unknown="error"),
        "label": CategoryColumn(),
    }
    rows = pa.table(
        {
            "color": ["red", "teal", "teal", "pink", "gray", "red"],
            "label": ["p", "p", "p", "p", "p", "p"],
        }
    )
    drawn = Drawn(rows, (2,), (3,), np.array([0, 1, 2, 2, -1, 0], np.int8), as_dictionaries=False)

    with pytest.raises(UnknownCategoryError) as raised:
        _streamed(tmp_path, drawn, columns)

    error = raised.value
    assert (error.column, sorted(error.unknown), error.n_rows) == ("color", ["pink", "teal"], 3)


@given(tables(task="classification"))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_segment_that_is_read_is_the_one_that_was_written(tmp_path: Path, drawn: Drawn) -> None:
    written = _segments(tmp_path, drawn, CLASSES, "lz4")

    read = [read_segment(segment.folder, CLASSES) for segment in written]

    for one, other in zip(read, written, strict=True):
        assert {n: w.to_pylist() for n, w in one.words.items()} == {
            n: w.to_pylist() for n, w in other.words.items()
        }
        pairs = zip(one.batches(), other.batches(), strict=True)
        assert all(a.rows.equals(b.rows) for a, b in pairs)
    once = _streamed(tmp_path, drawn, CLASSES, written)
    again = _streamed(tmp_path, drawn, CLASSES, read)
    assert [_bits(once[2][n]) for n in SPLITS] == [_bits(again[2][n]) for n in SPLITS]


def test_a_segment_can_be_read_more_than_once_and_by_two_at_a_time(tmp_path: Path) -> None:
    columns: dict[str, Column] = {"a": CategoryColumn()}
    batches = [pa.table({"a": [f"{k}", "x", None]}) for k in range(4)]
    segment = write_segment(tmp_path, batches, columns)

    one, other = segment.batches(), segment.batches()

    known = segment.words["a"]
    for batch, mine, same in zip(batches, one, other, strict=True):
        assert mine.rows.equals(same.rows)
        numbers = mine.numbers["a"][mine.rows.column(0).to_numpy()]
        assert [known[n - 1].as_py() if n else None for n in numbers.tolist()] == batch[
            "a"
        ].to_pylist()


def test_hashed_words_may_come_in_any_dictionary(tmp_path: Path) -> None:
    columns: dict[str, Column] = {"hashed": HashColumn(n_buckets=100, nullable=True)}
    known = [f"w{i}" for i in range(255)]
    full = pa.DictionaryArray.from_arrays(
        pa.array([255, None, 0, 254], pa.uint8()), pa.array([*known, None])
    )

    segment = write_segment(tmp_path, [pa.table({"hashed": full})], columns)

    (batch,) = segment.batches()
    expected = HashInput("hashed", 100).encode(pa.array([None, None, "w0", "w254"]))
    assert batch.rows.column(0).to_pylist() == expected.tolist()


def test_a_segment_without_rows_and_one_without_words_are_read(tmp_path: Path) -> None:
    numbers: dict[str, Column] = {"size": NumberColumn()}
    for name in ("empty", "wordless"):
        (tmp_path / name).mkdir()
    write_segment(tmp_path / "empty", [], CLASSES)
    write_segment(tmp_path / "wordless", [pa.table({"size": [1.5, 2.5]})], numbers)

    empty, wordless = (
        read_segment(tmp_path / "empty", CLASSES),
        read_segment(tmp_path / "wordless", numbers),
    )

    assert list(empty.batches()) == []
    assert [len(known) for known in empty.words.values()] == [0, 0, 0]
    assert [batch.rows.column(0).to_pylist() for batch in wordless.batches()] == [[1.5, 2.5]]


def test_numbers_keep_their_meaning_when_words_are_merged_in_the_middle_of_a_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline_lib.encoding.words._MIN_PENDING", 4)
    columns: dict[str, Column] = {"a": CategoryColumn(), "label": CategoryColumn()}
    random = np.random.default_rng(0)
    rows = pa.table(
        {
            "a": [f"w{i}" for i in random.integers(0, 900, 1000)],
            "label": ["p", "q"] * 500,
        }
    )
    cuts = tuple(range(0, 1000, 7))
    splits = random.choice(4, 1000, p=[0.1, 0.7, 0.1, 0.1]).astype(np.int8) - np.int8(1)
    drawn = Drawn(rows, cuts, (200, 200, 650), splits, as_dictionaries=True)

    encoder, target, streamed = _streamed(tmp_path, drawn, columns)

    expected = _in_memory(drawn, _fitted(drawn, columns), target)
    assert encoder.cardinalities[0] > 256
    assert [_bits(streamed[n]) for n in SPLITS] == [_bits(expected[n]) for n in SPLITS]


@pytest.mark.parametrize("as_dictionaries", [True, False])
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 60), max_size=4).map(sorted))
def test_columns_of_every_kind_are_streamed_as_whole_tables_are(
    tmp_path: Path, as_dictionaries: bool, seed: int, cuts: list[int]
) -> None:
    columns: dict[str, Column] = {
        "hashed": HashColumn(n_buckets=300, nullable=True),
        "yes": BooleanColumn(nullable=True),
        "when": DatetimeColumn(nullable=True),
        "robust": NumberColumn(nullable=True, scaling=RobustScaling()),
        "ranked": NumberColumn(scaling=QuantileScaling(n_quantiles=10)),
        "color": CategoryColumn(nullable=True),
        "label": NumberColumn(),
    }
    random = np.random.default_rng(seed)
    is_null = random.random((4, 60)) < 0.2
    hashed = random.integers(0, 20, 60).astype(str)
    rows = pa.table(
        {
            "hashed": pa.array(hashed.tolist(), pa.string(), mask=is_null[0]),
            "yes": pa.array(random.random(60) < 0.5, mask=is_null[1]),
            "when": pa.array(
                random.integers(0, 2**50, 60), pa.timestamp("us", "UTC"), mask=is_null[2]
            ),
            "robust": pa.array(random.normal(size=60), mask=is_null[3]),
            "ranked": random.normal(size=60),
            "color": pa.array(hashed[::-1].tolist()),
            "label": random.normal(size=60),
        }
    )
    splits = random.choice(4, 60, p=[0.1, 0.7, 0.1, 0.1]).astype(np.int8) - np.int8(1)
    drawn = Drawn(rows, tuple(cuts), tuple(cuts[:2]), splits, as_dictionaries)

    encoder, target, streamed = _streamed(tmp_path, drawn, columns)

    expected = _in_memory(drawn, encoder, target)
    assert [_bits(streamed[n]) for n in SPLITS] == [_bits(expected[n]) for n in SPLITS]
    whole = _in_memory(drawn, _fitted(drawn, columns), target)
    for name in SPLITS:
        np.testing.assert_array_equal(streamed[name].x_cat, whole[name].x_cat)
        np.testing.assert_allclose(streamed[name].x_num, whole[name].x_num, rtol=1e-5, atol=1e-5)
