"""Snapshots of sources in parts: what is copied, what is read again, and what is told as new."""

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.data.snapshots import snapshot as module
from pipeline_lib.data.snapshots.snapshot import LastNight, PartRows, Snapshot, take_snapshot
from pipeline_lib.data.sources.stream import Part, RowStream
from pipeline_lib.errors import SourceError
from pipeline_lib.home import find_home
from tests.unit.data.in_memory import content_digest

SCHEMA = pa.schema([("word", pa.string()), ("size", pa.int64())])


@dataclass
class Source:
    """A source whose parts remember how often they were read."""

    tables: dict[str, pa.Table]
    fingerprints: dict[str, str] = field(default_factory=dict)
    missing_days: tuple[date, ...] = ()
    read: list[str] = field(default_factory=list)

    def stream(self) -> RowStream:
        """Return the rows; a part called as a day is of this day."""
        schema = next(iter(self.tables.values())).schema
        parts = tuple(self._part(name) for name in self.tables)
        return RowStream("the source", schema, parts, self.missing_days)

    def _part(self, name: str) -> Part:
        def batches() -> Iterator[pa.RecordBatch]:
            self.read.append(name)
            yield from self.tables[name].to_batches()

        day = date.fromisoformat(name) if name[:2] == "20" else None
        return Part(name, self.fingerprints.get(name, f"print of {name}"), batches, day)


def _rows(*sizes: int) -> pa.Table:
    return pa.table({"word": [f"w{size}" for size in sizes], "size": [*sizes]}, SCHEMA)


def _last(snapshot: Snapshot) -> LastNight:
    return LastNight(
        snapshot.folder, snapshot.digest, snapshot.n_rows, snapshot.reading, snapshot.parts
    )


def _night(source: Source, last: Snapshot | None = None, *, reading: str = "csv") -> Snapshot:
    source.read.clear()
    return take_snapshot(
        find_home().dataset("toy"),
        source.stream(),
        reading=reading,
        last=_last(last) if last else None,
    )


def _group_sizes(snapshot: Snapshot) -> list[int]:
    metadata = pq.read_metadata(snapshot.rows_file)
    return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]


def test_row_groups_end_with_their_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROW_GROUP_ROWS", 4)
    source = Source({"a": _rows(*range(10)), "b": _rows(), "c": _rows(*range(8)), "d": _rows(1)})

    snapshot = _night(source)

    assert _group_sizes(snapshot) == [4, 4, 2, 4, 4, 1]
    ranges = [(part.name, part.first_row, part.stop) for part in snapshot.parts]
    assert ranges == [("a", 0, 10), ("b", 10, 10), ("c", 10, 18), ("d", 18, 19)]


@given(st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=1, max_size=4), st.data())
def test_batches_are_exactly_the_rows_asked_for(
    parts: list[list[int]], data: st.DataObject
) -> None:
    numbers = itertools.count()
    tables = {
        str(name): pa.concat_tables([_rows(), *(_rows(*itertools.islice(numbers, n)) for n in ns)])
        for name, ns in enumerate(parts)
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ROW_GROUP_ROWS", 4)
        patch.setattr(module, "_BATCH_ROWS", 8)
        snapshot = _night(Source(tables))
        n_rows = snapshot.n_rows
        start = data.draw(st.integers(0, n_rows))
        stop = data.draw(st.integers(start, n_rows))

        plain = list(snapshot.batches(rows=(start, stop)))
        encoded = list(snapshot.batches(rows=(start, stop), dictionaries=["word"]))

    for batches in (plain, encoded):
        assert [size for batch in batches for size in batch["size"].to_pylist()] == list(
            range(start, stop)
        )
        assert [word for batch in batches for word in batch["word"].to_pylist()] == [
            f"w{size}" for size in range(start, stop)
        ]
        assert all(batch.num_rows <= 8 for batch in batches)
    assert all(pa.types.is_dictionary(batch["word"].type) for batch in encoded)


def test_without_a_range_all_rows_come() -> None:
    snapshot = _night(Source({"a": _rows(1, 2), "b": _rows(3)}))

    assert pa.concat_tables(snapshot.batches()).equals(snapshot.read())


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=30),
    st.lists(st.integers(0, 30), max_size=4).map(sorted),
)
def test_the_digest_is_that_of_the_rows_whatever_parts_they_come_in(
    sizes: list[int], cuts: list[int]
) -> None:
    bounds = [0, *(min(cut, len(sizes)) for cut in cuts), len(sizes)]
    tables = {
        str(number): _rows(*sizes[start:stop])
        for number, (start, stop) in enumerate(itertools.pairwise(bounds))
    }

    snapshot = _night(Source(tables))

    assert snapshot.digest == content_digest(_rows(*sizes))
    assert snapshot.read().equals(_rows(*sizes))


def test_an_unchanged_part_is_not_read_again() -> None:
    source = Source({"a": _rows(1, 2), "b": _rows(3, 4)})
    first = _night(source)
    source.tables = {"a": source.tables["a"], "b": _rows(3, 5), "c": _rows(6)}
    source.fingerprints["b"] = "another"

    second = _night(source, first)

    assert source.read == ["b", "c"]
    assert second.read().equals(_rows(1, 2, 3, 5, 6))
    assert second.digest == content_digest(_rows(1, 2, 3, 5, 6))


def test_parts_in_another_order_are_copied_to_their_new_places() -> None:
    source = Source({"a": _rows(1, 2), "b": _rows(), "c": _rows(3)})
    first = _night(source)
    source.tables = dict(reversed(source.tables.items()))

    second = _night(source, first)

    assert source.read == []
    assert second.read().equals(_rows(3, 1, 2))


def test_a_part_that_is_called_otherwise_or_has_no_fingerprint_is_read_again() -> None:
    source = Source({"a": _rows(1, 2), "b": _rows(3)}, {"b": ""})
    first = _night(source)
    source.tables = {"z": source.tables["a"], "b": source.tables["b"]}
    source.fingerprints["z"] = "print of a"

    _night(source, first)

    assert source.read == ["z", "b"]


@pytest.mark.parametrize("why", ["reading", "schema", "damage", "gone", "digest"])
def test_everything_is_read_again_where_the_last_snapshot_says_nothing(why: str) -> None:
    source = Source({"a": _rows(1, 2), "b": _rows(3)})
    first = _night(source)
    reading, last = "csv", first

    match why:
        case "reading":
            reading = "csv with blanks"
        case "schema":
            source.tables = {
                name: table.append_column("new", pa.nulls(table.num_rows, pa.string()))
                for name, table in source.tables.items()
            }
        case "damage":
            data = bytearray(first.rows_file.read_bytes())
            data[len(data) // 2] ^= 1
            first.rows_file.write_bytes(data)
        case "gone":
            first.rows_file.unlink()
        case _:
            last = replace(first, digest="0" * 64)
    second = _night(source, last, reading=reading)

    assert source.read == ["a", "b"]
    assert second.read()["size"].to_pylist() == [1, 2, 3]


def test_a_source_that_breaks_off_leaves_the_last_snapshot_and_nothing_else() -> None:
    source = Source({"a": _rows(1, 2), "b": _rows(3)})
    first = _night(source)

    def broken() -> Iterator[pa.RecordBatch]:
        yield _rows(7).to_batches()[0]
        raise SourceError("connection lost")

    stream = RowStream("the source", SCHEMA, (Part("x", "x", broken),))
    with pytest.raises(SourceError, match="connection lost"):
        take_snapshot(find_home().dataset("toy"), stream, last=_last(first))

    assert [path.name for path in first.folder.parent.iterdir()] == [first.folder.name]
    assert first.read().num_rows == 3


def _arrivals(before: Sequence[int], now: Sequence[int]) -> tuple[tuple[int, int], ...] | None:
    first = _night(Source({"a": _rows(*before)}, {"a": ""}))
    return _night(Source({"a": _rows(*now)}, {"a": ""}), first).arrivals


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=20),
    st.lists(st.integers(0, 3), max_size=20),
)
def test_of_one_part_new_rows_are_known_where_the_old_ones_stand_before_them(
    before: list[int], now: list[int]
) -> None:
    if now == before:
        expected: tuple[tuple[int, int], ...] | None = ()
    elif now[: len(before)] == before:
        expected = ((len(before), len(now)),)
    else:
        expected = None

    assert _arrivals(before, now) == expected
    assert _arrivals(before, [*before, *now, 1]) == ((len(before), len(before) + len(now) + 1),)


def test_the_first_night_cannot_tell_what_is_new() -> None:
    assert _night(Source({"a": _rows(1)})).arrivals is None


def test_new_late_rewritten_and_gone_parts_are_told_with_their_rows() -> None:
    days = {f"2026-01-0{day}": _rows(*range(day, day + 2)) for day in (1, 3, 4, 5)}
    source = Source(dict(days))
    first = _night(source)
    source.tables = {
        "2026-01-02": _rows(20),  # late: before the newest of last night
        "2026-01-03": days["2026-01-03"],
        "2026-01-04": _rows(40, 41, 42),
        "2026-01-05": days["2026-01-05"],
        "2026-01-06": _rows(60),
    }
    source.fingerprints["2026-01-04"] = "rewritten"

    second = _night(source, first)

    assert second.arrivals == ((0, 1), (3, 6), (8, 9))
    assert second.read().slice(3, 3).equals(_rows(40, 41, 42))
    assert second.news == (
        "1 new part: '2026-01-06'",
        "1 late part from before the last run's newest: '2026-01-02'",
        "1 rewritten part: '2026-01-04'",
        "1 part no longer there: '2026-01-01'",
    )


def test_a_window_that_moves_on_has_the_new_day_as_arrivals() -> None:
    source = Source({f"2026-01-0{day}": _rows(day, day) for day in (1, 2, 3)})
    first = _night(source)
    source.tables = {f"2026-01-0{day}": _rows(day, day) for day in (2, 3, 4)}

    second = _night(source, first)

    assert second.arrivals == ((4, 6),)
    assert source.read == ["2026-01-04"]


def test_a_window_of_one_day_has_all_its_rows_as_arrivals() -> None:
    first = _night(Source({"2026-01-01": _rows(1, 2)}))

    second = _night(Source({"2026-01-02": _rows(3, 4)}), first)

    assert second.arrivals == ((0, 2),)
    assert second.news == (
        "1 new part: '2026-01-02'",
        "1 part no longer there: '2026-01-01'",
    )


def test_equal_rows_in_parts_are_no_arrivals() -> None:
    source = Source({"a": _rows(1), "b": _rows(2)})
    first = _night(source)
    source.fingerprints["a"] = "touched, not changed"

    assert _night(source, first).arrivals == ()


@pytest.mark.parametrize("why", ["reading", "no fingerprint"])
def test_nobody_can_tell_what_is_new_where_parts_may_differ_unseen(why: str) -> None:
    unseen = why == "no fingerprint"
    source = Source({"a": _rows(1), "b": _rows(2)}, {"b": ""} if unseen else {})
    first = _night(source)
    source.tables = {"a": _rows(1), "b": _rows(20)}

    second = _night(source, first, reading="csv" if unseen else "csv with blanks")

    assert second.digest != first.digest
    assert second.arrivals is None


def test_many_new_parts_make_a_short_message() -> None:
    first = _night(Source({"a": _rows(1), "b": _rows(2)}))
    source = Source({f"part-{number:04}": _rows(number) for number in range(1000)})

    news = _night(source, first).news

    assert news[0].startswith("1000 new parts: 'part-0000', ")
    assert all(len(line) < 200 for line in news)


def test_missing_days_are_told_every_night() -> None:
    source = Source({"a": _rows(1)}, missing_days=(date(2026, 1, 2), date(2026, 1, 3)))
    told = ("2 days without a part: '2026-01-02', '2026-01-03'",)

    first = _night(source)
    same = _night(source, first)
    source.tables["b"] = _rows(2)
    grown = _night(source, same)

    assert first.news == same.news == told
    assert grown.news[-1:] == told


def test_missing_days_are_told_where_the_only_part_has_grown() -> None:
    source = Source({"a": _rows(1)}, missing_days=(date(2026, 1, 2),))
    first = _night(source)
    source.tables, source.fingerprints["a"] = {"a": _rows(1, 2)}, "grown"

    assert _night(source, first).news == ("1 day without a part: '2026-01-02'",)


@given(
    st.lists(
        st.builds(
            PartRows,
            st.text(),
            st.text(),
            st.integers(0, 10**12),
            st.integers(0, 10**12),
            st.none() | st.dates().map(str),
        ),
        max_size=4,
    )
)
def test_the_last_night_survives_json(parts: list[PartRows]) -> None:
    folder = find_home().dataset("toy").folder / "snapshots" / "0123456789abcdef"
    last = LastNight(folder, "0123456789abcdef" * 4, 10**12, "reading", tuple(parts))

    text = json.dumps(last.to_json())

    assert LastNight.from_json(find_home().dataset("toy"), json.loads(text)) == last


@pytest.mark.parametrize("folder", ["..", ".", "", "../..", "/etc", "a/../..", "x/..", "..\\.."])
def test_a_record_never_leads_out_of_the_snapshots_folder(folder: str) -> None:
    spec = {"folder": folder, "digest": "0" * 64, "n_rows": 1, "reading": "", "parts": []}

    last = LastNight.from_json(find_home().dataset("toy"), json.loads(json.dumps(spec)))

    assert (
        last.folder.resolve().parent == (find_home().dataset("toy").folder / "snapshots").resolve()
    )


def test_a_snapshot_in_parts_of_dictionaries_is_copied_as_it_is() -> None:
    kind = pa.dictionary(pa.int32(), pa.string())
    parts = {
        name: pa.table({"word": pa.array(words, kind)})
        for name, words in (("a", ["x", None, "y"]), ("b", ["z", "x"]))
    }
    source = Source(parts)
    first = _night(source)
    source.tables = {**parts, "c": pa.table({"word": pa.array(["q"], kind)})}

    second = _night(source, first)

    assert source.read == ["c"]
    assert second.read()["word"].to_pylist() == ["x", None, "y", "z", "x", "q"]


def test_a_single_big_batch_becomes_many_row_groups() -> None:
    table = pa.table({"size": pa.array(range(300_000), pa.int64())})

    snapshot = take_snapshot(find_home().dataset("toy"), RowStream.of(table, source="memory"))

    assert _group_sizes(snapshot) == [131_072, 131_072, 37_856]
    assert snapshot.read().equals(table)
