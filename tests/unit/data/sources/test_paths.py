"""Which files a path means: one, a glob's, or those of every day."""

import hashlib
from datetime import date
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config.sources import CsvFile, ParquetFile
from pipeline_lib.data.sources.open import open_source, source_name
from pipeline_lib.data.sources.paths import FoundFiles, day_in, find_files
from pipeline_lib.data.sources.stores import BucketStore, FolderStore
from pipeline_lib.data.sources.stream import RowStream
from pipeline_lib.errors import SourceError, SourceNotFoundError, UsageError

_NIGHT = date(2026, 5, 10)
_DATED = "{YYYY}-{MM}-{DD}"


def _fill(folder: Path, *paths: str, content: str = "a,b\n1,2\n") -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)


def _found(root: Path, path: str, window_days: int | None = None) -> FoundFiles:
    return find_files(path, FolderStore(root), window_days=window_days, run_date=_NIGHT)


def _names(root: Path, found: FoundFiles) -> list[str]:
    return [str(Path(dated.file.name).relative_to(root)) for dated in found.files]


def _open(root: Path, path: str, **settings: Any) -> RowStream:
    return open_source(CsvFile(path=path, **settings), root=root, run_date=_NIGHT)


def test_a_star_finds_files_by_name_and_no_folders_or_hidden_files(tmp_path: Path) -> None:
    _fill(tmp_path, "d/b.csv", "d/a.csv", "d/.hidden.csv", "d/a.txt", "d/folder.csv/x.txt")

    assert _names(tmp_path, _found(tmp_path, "d/*.csv")) == ["d/a.csv", "d/b.csv"]


def test_two_stars_find_files_at_any_depth(tmp_path: Path) -> None:
    _fill(tmp_path, "d/x/y/c.csv", "d/b.csv", "d/x/a.csv")

    found = _found(tmp_path, "d/**/*.csv")

    assert _names(tmp_path, found) == ["d/b.csv", "d/x/a.csv", "d/x/y/c.csv"]


@pytest.mark.parametrize("name", ["a[1].csv", "what?.csv", "a*.csv"])
def test_a_file_whose_name_has_stars_or_brackets_is_that_file(tmp_path: Path, name: str) -> None:
    _fill(tmp_path, name, "a1.csv", "whatx.csv", "ab.csv")

    assert _names(tmp_path, _found(tmp_path, name)) == [name]


def test_brackets_in_the_roots_own_name_mean_themselves(tmp_path: Path) -> None:
    root = tmp_path / "project [old]"
    _fill(root, "a.csv", f"{_NIGHT}.csv")

    assert _names(root, _found(root, "a*.csv")) == ["a.csv"]
    assert _names(root, _found(root, f"{_DATED}.csv")) == [f"{_NIGHT}.csv"]


@pytest.mark.parametrize("path", ["../data/*.csv", "./../data/{YYYY}.{MM}.{DD}.csv"])
def test_a_path_may_leave_the_root(tmp_path: Path, path: str) -> None:
    _fill(tmp_path, "data/2026.05.10.csv", "root/x.csv")

    assert len(_found(tmp_path / "root", path).files) == 1


def test_a_glob_that_finds_nothing_says_what_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError) as raised:
        _open(tmp_path, "data/*.csv")

    assert str(raised.value) == f"{tmp_path}/data/*.csv: no file matches"
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    "pattern",
    [
        "data/{YYYY}-{MM}-{DD}.csv",
        "data/{YYYY}{MM}{DD}.csv",
        "{YYYY}/{MM}/{DD}.csv",
        "day={YYYY}-{MM}-{DD}/part.csv",
        "{DD}.{MM}.{YYYY}/part-*.csv",
        "**/{YYYY}-{MM}-{DD}/part-*.csv",
        "{YYYY}/{MM}/rows-{YYYY}-{MM}-{DD}.csv",
    ],
)
@given(days=st.sets(st.dates(date(2025, 1, 1), date(2026, 12, 31)), min_size=1, max_size=8))
def test_files_of_days_come_by_day_up_to_the_night_and_gaps_are_named(
    pattern: str, days: set[date], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("days")
    past = sorted(day for day in days if day <= _NIGHT)
    for day in days:
        path = pattern.replace("**", "x/y").replace("*", "7")
        for field, form in (("{YYYY}", "%Y"), ("{MM}", "%m"), ("{DD}", "%d")):
            path = path.replace(field, day.strftime(form))
        _fill(root, path)

    if not past:
        with pytest.raises(SourceNotFoundError, match=f"the first is of {min(days)}, after"):
            _found(root, pattern)
        return
    found = _found(root, pattern)

    assert [dated.day for dated in found.files] == past
    ordinals = range(past[0].toordinal(), _NIGHT.toordinal() + 1)
    assert set(found.missing_days) == {date.fromordinal(o) for o in ordinals} - set(past)


def test_a_window_is_the_last_days_with_the_night_included(tmp_path: Path) -> None:
    _fill(tmp_path, "2026-05-07.csv", "2026-05-08.csv", "2026-05-10.csv", "2026-05-11.csv")

    found = _found(tmp_path, f"{_DATED}.csv", window_days=3)

    assert _names(tmp_path, found) == ["2026-05-08.csv", "2026-05-10.csv"]
    assert found.missing_days == (date(2026, 5, 9),)


def test_a_window_without_files_says_which_days_and_when_the_last_one_came(tmp_path: Path) -> None:
    _fill(tmp_path, "2026-04-01.csv", "2026-06-01.csv")

    with pytest.raises(SourceNotFoundError) as raised:
        _found(tmp_path, f"{_DATED}.csv", window_days=7)

    assert str(raised.value) == (
        f"{tmp_path}/{_DATED}.csv: there is no file of the days 2026-05-04 to 2026-05-10; "
        "the latest is of 2026-04-01"
    )


def test_a_day_that_no_calendar_has_is_no_part(tmp_path: Path) -> None:
    _fill(tmp_path, "2026-02-28.csv", "2026-02-31.csv", "0000-01-01.csv", "2026-13-01.csv")

    assert _names(tmp_path, _found(tmp_path, f"{_DATED}.csv")) == ["2026-02-28.csv"]


def test_a_path_whose_two_dates_differ_is_no_part(tmp_path: Path) -> None:
    _fill(tmp_path, "2026/2026-05-01.csv", "2025/2026-05-02.csv")

    found = _found(tmp_path, "{YYYY}/{YYYY}-{MM}-{DD}.csv")

    assert _names(tmp_path, found) == ["2026/2026-05-01.csv"]


def test_one_day_may_have_several_files(tmp_path: Path) -> None:
    _fill(tmp_path, "2026-05-10/b.csv", "2026-05-10/a.csv", "2026-05-09/c.csv")

    found = _found(tmp_path, f"{_DATED}/*.csv")

    assert _names(tmp_path, found) == ["2026-05-09/c.csv", "2026-05-10/a.csv", "2026-05-10/b.csv"]


def test_dots_in_a_pattern_are_dots() -> None:
    assert day_in("2026-05-01xcsv", f"{_DATED}.csv") is None


def test_an_empty_file_among_many_is_named(tmp_path: Path) -> None:
    _fill(tmp_path, "a.csv")
    (tmp_path / "b.csv").touch()

    with pytest.raises(SourceError, match=r"b\.csv is empty"):
        _open(tmp_path, "*.csv")


def test_parts_carry_their_day_and_the_sha256_of_their_bytes(tmp_path: Path) -> None:
    _fill(tmp_path, "2026-05-08.csv", "2026-05-10.csv", content="a,b\n08,x\n")

    stream = _open(tmp_path, f"{_DATED}.csv")

    assert [part.day for part in stream.parts] == [date(2026, 5, 8), date(2026, 5, 10)]
    assert stream.missing_days == (date(2026, 5, 9),)
    digest = hashlib.sha256(b"a,b\n08,x\n").hexdigest()
    assert {part.fingerprint for part in stream.parts} == {digest}
    assert stream.source == f"{tmp_path}/{_DATED}.csv"


def test_headers_in_another_order_are_read_in_the_order_of_the_first(tmp_path: Path) -> None:
    _fill(tmp_path, "1.csv", content="a,b\n1,2\n")
    _fill(tmp_path, "2.csv", content=" b , a\n4,3\n")

    table = _open(tmp_path, "*.csv", trim=True).read()

    assert table.to_pydict() == {"a": ["1", "3"], "b": ["2", "4"]}


def test_a_header_with_other_names_is_refused_with_the_file_it_is_compared_with(
    tmp_path: Path,
) -> None:
    _fill(tmp_path, "1.csv", "2.csv", content="a,b\n1,2\n")
    _fill(tmp_path, "3.csv", content="a,B,c\n1,2,3\n")

    with pytest.raises(SourceError) as raised:
        _open(tmp_path, "*.csv")

    assert f"{tmp_path}/3.csv: other columns than {tmp_path}/1.csv" in str(raised.value)
    assert "it lacks 'b' and has 'B', 'c' more" in str(raised.value)


def test_a_day_without_rows_is_fine_and_days_without_any_are_not(tmp_path: Path) -> None:
    _fill(tmp_path, "2026-05-09.csv", "2026-05-10.csv", content="a,b\n")

    with pytest.raises(SourceError, match=r"each of 2 files has columns but no rows"):
        _open(tmp_path, f"{_DATED}.csv")
    _fill(tmp_path, "2026-05-10.csv")
    assert _open(tmp_path, f"{_DATED}.csv").read().num_rows == 1


@pytest.mark.parametrize("path", ["https://host/a.csv", "memory://a.csv", "gs://bucket/a.csv"])
def test_only_folders_and_s3_are_read(tmp_path: Path, path: str) -> None:
    with pytest.raises(UsageError, match="from folders and from s3://"):
        _open(tmp_path, path)


def test_a_bucket_is_called_by_its_url(tmp_path: Path) -> None:
    source = ParquetFile(path="s3://bucket/day={YYYY}-{MM}-{DD}/*.parquet")

    assert source_name(source, root=tmp_path) == source.path


@pytest.fixture
def memory_store() -> BucketStore:
    """Return a store of fsspec's own that asks the same of us as a bucket does."""
    system = fsspec.filesystem("memory")
    system.rm("/", recursive=True)
    return BucketStore(system, "memory://")


def test_a_store_finds_globs_and_days_as_a_folder_does(memory_store: BucketStore) -> None:
    for path in ("day=2026-05-08/a.csv", "day=2026-05-11/a.csv", "day=2026-05-10/b.csv", "x.csv"):
        memory_store.system.pipe(f"memory://bucket/{path}", b"a,b\n1,2\n")

    found = find_files(
        "memory://bucket/day={YYYY}-{MM}-{DD}/*.csv",
        memory_store,
        window_days=None,
        run_date=_NIGHT,
    )

    assert [dated.file.name for dated in found.files] == [
        "memory://bucket/day=2026-05-08/a.csv",
        "memory://bucket/day=2026-05-10/b.csv",
    ]
    assert found.missing_days == (date(2026, 5, 9),)


def test_a_file_of_a_store_is_lent_whole_and_its_copy_removed(memory_store: BucketStore) -> None:
    memory_store.system.pipe("memory://bucket/a.csv", b"a,b\n1,2\n")
    file = memory_store.file("memory://bucket/a.csv")
    assert file is not None

    with file.on_disk() as path:
        assert path.read_bytes() == b"a,b\n1,2\n"

    assert not path.exists()


def test_a_file_of_a_store_that_has_changed_is_refused(memory_store: BucketStore) -> None:
    memory_store.system.pipe("memory://bucket/a.csv", b"a,b\n1,2\n")
    file = memory_store.file("memory://bucket/a.csv")
    assert file is not None

    memory_store.system.pipe("memory://bucket/a.csv", b"a,b\n1,3\n4,5\n")

    with pytest.raises(SourceError, match="changed while it was read"), file.on_disk():
        pass


def test_what_a_store_does_not_have_is_told(memory_store: BucketStore) -> None:
    for path in ("memory://bucket/a.csv", "memory://bucket/*.csv"):
        with pytest.raises(SourceNotFoundError, match="memory://bucket/"):
            find_files(path, memory_store, window_days=None, run_date=_NIGHT)
