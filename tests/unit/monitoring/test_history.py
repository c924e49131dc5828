"""Ten nights of a growing table: rows keep their split, codes their category, and calm is calm."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract.check_snapshot import check_snapshot
from pipeline_lib.data.snapshots.snapshot import Snapshot, take_snapshot
from pipeline_lib.data.sources.stream import RowStream
from pipeline_lib.data.splits.split_rows import SplitRows, split_checked
from pipeline_lib.encoding.encoded_splits import EncodedData, encode_splits, read_ledger
from pipeline_lib.errors import StorageError
from pipeline_lib.home import find_home
from pipeline_lib.monitoring.drift_report import NightRecord
from pipeline_lib.monitoring.history import Night, read_last_night, read_nights, remember_night
from pipeline_lib.monitoring.monitor import Watch, Watched, read_profile
from tests.unit.data.in_memory import read_source

BIKE = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "bike_hour.csv"
FIRST = date(2026, 1, 1)
N_NIGHTS = 10

CONFIG = {
    "name": "bike",
    "data": {
        "source": {"kind": "csv", "path": str(BIKE)},
        "target": "cnt",
        "task": "regression",
        "key": ["instant"],
    },
    "columns": {
        **{
            name: {"kind": "category"}
            for name in ("season", "yr", "mnth", "hr", "weekday", "weathersit", "dteday")
        },
        **{name: {"kind": "boolean"} for name in ("holiday", "workingday")},
        **{name: {"kind": "number"} for name in ("temp", "atemp", "hum", "windspeed")},
    },
}


@dataclass(frozen=True)
class Lived:
    """What one night has left."""

    n_rows: int
    watched: Watched
    rows: SplitRows
    encoded: EncodedData
    codes: dict[str, list[str]]


@pytest.fixture(scope="module")
def bike() -> pa.Table:
    """Bike rentals by the hour, in a random order: growing prefixes are i.i.d. nights."""
    if not BIKE.exists():
        pytest.skip(f"needs {BIKE}, the real tables beside the project")
    config = PipelineConfig.model_validate(CONFIG)
    rows = read_source(config.data.source, root=Path())
    return rows.take(np.random.default_rng(1).permutation(rows.num_rows))


@pytest.fixture(scope="module")
def nights(bike: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Lived]]:
    """Ten nights; each has all rows of the one before and some more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERGREEN_HOME", str(tmp_path_factory.mktemp("nights")))
        yield _live(_grown(bike))


def _grown(bike: pa.Table) -> list[pa.Table]:
    first = bike.num_rows // 2
    step = (bike.num_rows - first) // (N_NIGHTS - 1)
    return [bike.slice(0, first + number * step) for number in range(N_NIGHTS)]


def _live(tables: list[pa.Table]) -> list[Lived]:
    config, lived, champion = PipelineConfig.model_validate(CONFIG), list[Lived](), None
    for number, table in enumerate(tables):
        today = FIRST + timedelta(days=number)
        stream = RowStream.of(table, source="bike")
        snapshot = take_snapshot(
            find_home().dataset(config.name),
            stream,
            last=read_last_night(find_home().dataset(config.name)),
        )
        known = {
            name: words.categories
            for name, words in read_ledger(find_home().dataset(config.name)).items()
        }
        watch = Watch(config, snapshot, known)
        checked = check_snapshot(config, snapshot, on_batch=watch.see)
        watched = watch.finish(reference=champion, run_date=today)
        arrivals = watched.arrivals.record if watched.arrivals else None
        remember_night(snapshot, Night(watched.rows.record, arrivals))
        rows = split_checked(config, checked)
        encoded = encode_splits(config, rows, today=today.isoformat())
        champion = champion or snapshot.digest
        ledger = read_ledger(find_home().dataset(config.name))
        codes = {name: words.categories.to_pylist() for name, words in ledger.items()}
        lived.append(Lived(table.num_rows, watched, rows, encoded, codes))
    return lived


def test_no_row_ever_changes_its_split(nights: list[Lived]) -> None:
    for before, after in itertools.pairwise(nights):
        assert after.n_rows > before.n_rows
        assert np.array_equal(after.rows.assignment()[: before.n_rows], before.rows.assignment())


def test_no_code_ever_changes_its_category(nights: list[Lived]) -> None:
    assert sum(map(len, nights[0].codes.values())) < sum(map(len, nights[-1].codes.values()))
    for before, after in itertools.pairwise(nights):
        for name, words in before.codes.items():
            assert after.codes[name][: len(words)] == words


def test_rows_that_were_there_have_the_codes_they_had(nights: list[Lived]) -> None:
    first, last = nights[0], nights[-1]
    n_train = first.rows.n_rows["train"]

    before, after = first.encoded.read("train"), last.encoded.read("train")

    assert np.array_equal(after.x_cat[:n_train], before.x_cat)


def test_the_report_stays_silent_while_rows_are_of_one_kind(nights: list[Lived]) -> None:
    told = [text for night in nights[1:] for text in night.watched.sentences()]

    assert [night.watched.matters for night in nights] == [False] * N_NIGHTS
    assert all(night.watched.arrivals is not None for night in nights[1:])
    # One false word in fifty nights is what the test promises; here are nine, seen twice each.
    assert len(told) <= 1, told


def test_the_report_speaks_of_a_shifted_night_and_names_the_column(bike: pa.Table) -> None:
    tables = _grown(bike)[:4]
    known, last = tables[-2], tables[-1]
    shifted = last.slice(known.num_rows)
    wet = pc.cast(
        pc.min_element_wise(pc.add(shifted["hum"].cast("float64"), 0.2), 1.0), pa.string()
    )
    at = shifted.column_names.index("hum")
    tables[-1] = pa.concat_tables([known, shifted.set_column(at, "hum", wet)])

    watched = _live(tables)[-1].watched

    assert watched.matters
    assert watched.arrivals is not None
    mattering = {row.column for row in watched.arrivals.rows if row.verdict == "matters"}
    assert mattering == {"hum"}
    assert any("hum" in text for text in watched.sentences())


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"version": 9}', '{"version": 1}'])
def test_a_damaged_profile_is_told_with_its_file_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path))
    folder = tmp_path / "datasets" / "bike" / "snapshots" / "0123456789abcdef"
    folder.mkdir(parents=True)
    (folder / "profile.json").write_text(damage)

    with pytest.raises(StorageError, match=r"profile\.json is damaged: .*\. Remove it"):
        read_profile(find_home().dataset("bike"), "0123456789abcdef" * 4)


def _remembered(table: pa.Table) -> Snapshot:
    """Take the rows of a night, and remember it."""
    stream = RowStream.of(table, source="toy.csv")
    snapshot = take_snapshot(
        find_home().dataset("toy"), stream, last=read_last_night(find_home().dataset("toy"))
    )
    record = NightRecord(date(2026, 1, 1), table.num_rows, "", {}, ())
    remember_night(snapshot, Night(record, record))
    return snapshot


def test_a_night_that_goes_on_after_a_kill_has_the_new_rows_of_its_first_attempt() -> None:
    table = pa.table({"x": range(120)})
    _remembered(table.slice(0, 100))
    _remembered(table)
    stream, last = (
        RowStream.of(table, source="toy.csv"),
        read_last_night(find_home().dataset("toy")),
    )
    assert last is not None

    again = take_snapshot(find_home().dataset("toy"), stream, last=last)

    assert again.arrivals == ()
    assert last.going_on(again).arrivals == ((100, 120),)


def test_other_rows_do_not_go_on_with_the_last_night() -> None:
    _remembered(pa.table({"x": range(100)}))
    last = read_last_night(find_home().dataset("toy"))
    assert last is not None

    other = take_snapshot(
        find_home().dataset("toy"), RowStream.of(pa.table({"x": range(7)}), source="t"), last=last
    )

    assert last.going_on(other) == other


def test_a_night_that_is_done_again_counts_once_among_the_past_ones() -> None:
    first, second = pa.table({"x": range(100)}), pa.table({"x": range(120)})

    for table in (first, first, second, second, first):
        _remembered(table)

    assert [night.rows.n_rows for night in read_nights(find_home().dataset("toy"))] == [
        100,
        120,
        100,
    ]


def test_a_damaged_line_of_past_nights_is_said_and_the_others_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for n_rows in (100, 120, 140):
        _remembered(pa.table({"x": range(n_rows)}))
    path = find_home().dataset("toy").folder / "nights.jsonl"
    first, second, third = path.read_text().splitlines()
    damages = ["no json", "[]", '{"rows": 3, "arrivals": null}', second.replace("120", '"many"')]

    for damage in damages:
        path.write_text(f"{first}\n{damage}\n{third}\n")
        caplog.clear()
        assert [night.rows.n_rows for night in read_nights(find_home().dataset("toy"))] == [
            100,
            140,
        ]
        (told,) = [record.getMessage() for record in caplog.records]
        assert told.startswith(f"{path}:2 is damaged: ")
        assert "Restore the file, or remove the line" in told


@pytest.mark.parametrize("damage", ["", "[1", "[]", "{}", '{"parts": [{"colour": 1}]}', "\0" * 9])
def test_a_damaged_memory_of_the_last_night_is_said_and_written_anew(
    caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    table = pa.table({"x": range(100)})
    _remembered(table)
    path = find_home().dataset("toy").folder / "last_night.json"
    caplog.clear()
    path.write_text(damage)

    assert read_last_night(find_home().dataset("toy")) is None
    (told,) = {record.getMessage() for record in caplog.records}
    assert told.startswith(f"{path} is damaged (")
    _remembered(table)
    assert read_last_night(find_home().dataset("toy")) is not None
