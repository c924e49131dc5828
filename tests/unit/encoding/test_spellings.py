"""A night whose values come typed where the last one's were text: codes and classes stay."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from pipeline_lib import fit
from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract.check_snapshot import check_snapshot
from pipeline_lib.data.snapshots.snapshot import take_snapshot
from pipeline_lib.data.sources.sql import as_text
from pipeline_lib.data.sources.stream import Part, RowStream
from pipeline_lib.data.splits.split_rows import split_checked
from pipeline_lib.data.values.written import TYPED_TEXT
from pipeline_lib.encoding import ClassTarget
from pipeline_lib.encoding.encoded_splits import EncodedData, encode_splits
from pipeline_lib.encoding.labels import label_type_of
from pipeline_lib.encoding.target import spelled_for
from pipeline_lib.home import find_home
from pipeline_lib.monitoring.monitor import Watch, known_classes

MakeConfig = Callable[..., PipelineConfig]
N_ROWS = 300


def _rows(flags: pa.Array, labels: pa.Array | None = None) -> pa.Table:
    labels = labels or pa.array(["hot" if n % 3 else "cold" for n in range(N_ROWS)])
    sizes = [float(n) for n in range(N_ROWS)]
    return pa.table({"color": flags, "size": sizes, "label": labels})


def _text(words: list[str]) -> pa.Array:
    return pa.array([words[n % len(words)] for n in range(N_ROWS)], pa.string())


def _night(config: PipelineConfig, table: pa.Table, *, fingerprint: str = "") -> EncodedData:
    stream = RowStream.of(table, source="toy")
    if fingerprint:
        parts = tuple(replace(part, fingerprint=fingerprint) for part in stream.parts)
        stream = replace(stream, parts=(*parts, Part("none", "0", lambda: iter(()))))
    snapshot = take_snapshot(find_home().dataset(config.name), stream)
    rows = split_checked(config, check_snapshot(config, snapshot))
    return encode_splits(config, rows, today="2026-01-01")


def _categories(encoded: EncodedData) -> list[str]:
    return encoded.read_encoder().vocabularies["color"].categories.to_pylist()


def _typed_text(values: pa.Array) -> pa.Table:
    """Return rows as a query gives them: typed values as text, in a marked column."""
    words = pa.array([as_text(value, "color") for value in values.to_pylist()], pa.string())
    table = _rows(words)
    field = pa.field("color", pa.string(), metadata=TYPED_TEXT)
    return table.cast(pa.schema([field, *list(table.schema)[1:]]))


@pytest.mark.parametrize(
    ("words", "typed"),
    [
        (["True", "False"], pa.array([n % 2 == 0 for n in range(N_ROWS)])),
        (["1.0", "2.0"], pa.array([1 + n % 2 for n in range(N_ROWS)])),
        (["01", "02"], pa.array([1.0 + n % 2 for n in range(N_ROWS)])),
    ],
    ids=["booleans", "whole numbers", "floats"],
)
@pytest.mark.parametrize("way", ["table", "kept segments", "query"])
def test_a_typed_value_keeps_the_code_that_its_text_had(
    table_config: MakeConfig,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    typed: pa.Array,
    way: str,
) -> None:
    config, mark = table_config(), "f" if way == "kept segments" else ""
    monkeypatch.setattr("pipeline_lib.encoding.encoded_splits._MIN_KEPT_ROWS", 1)
    first = _night(config, _rows(_text(words)), fingerprint=mark and "e")

    current = _typed_text(typed) if way == "query" else _rows(typed)
    second = _night(config, current, fingerprint=mark)

    assert _categories(second) == _categories(first) == sorted(words)
    assert second.changes == ()
    for split in ("train", "val", "test"):
        values = second.read(split).x_cat[:, 0]
        assert set(np.unique(values)) <= {2, 3}


def test_what_an_earlier_release_wrote_of_a_querys_floats_keeps_its_code(
    table_config: MakeConfig,
) -> None:
    config = table_config()
    first = _night(config, _rows(_text(["2.0", "3.0"])))

    second = _night(config, _typed_text(pa.array([2.0 + n % 2 for n in range(N_ROWS)])))

    assert _categories(second) == _categories(first)


def test_text_of_another_spelling_is_another_category(table_config: MakeConfig) -> None:
    config = table_config()
    _night(config, _rows(_text(["True", "False"])))

    second = _night(config, _rows(_text(["true", "false"])))

    assert _categories(second) == ["False", "True", "false", "true"]


def test_two_spellings_in_the_ledger_make_a_typed_value_a_category_of_its_own(
    table_config: MakeConfig,
) -> None:
    config = table_config()
    _night(config, _rows(_text(["True", "TRUE", "False"])))

    second = _night(config, _rows(pa.array([n % 2 == 0 for n in range(N_ROWS)])))

    assert _categories(second) == ["False", "TRUE", "True", "true"]


def test_categories_of_the_champion_keep_their_codes_when_values_come_typed(
    table_config: MakeConfig,
) -> None:
    config = table_config()
    champion = fit(config, _rows(_text(["True", "False"])))
    typed = _rows(pa.array([n % 2 == 0 for n in range(N_ROWS)]))

    model = fit(config, typed, champion=champion)

    assert model.encoder.vocabularies["color"].categories.to_pylist() == ["False", "True"]


@pytest.mark.parametrize(
    ("source", "labels", "values"),
    [
        ({"kind": "csv", "path": "x.csv"}, _text(["0", "1"]), [0, 1]),
        ({"kind": "csv", "path": "x.csv"}, _text(["True", "False"]), [False, True]),
        ({"kind": "parquet", "path": "x.parquet"}, _text(["0", "1"]), ["0", "1"]),
        ({"kind": "parquet", "path": "x.parquet"}, _text(["0", "1"]).cast(pa.int64()), [0, 1]),
    ],
    ids=str,
)
def test_the_labels_of_a_night_are_what_a_reader_of_its_source_has(
    table_config: MakeConfig, source: dict[str, str], labels: pa.Array, values: list[object]
) -> None:
    config = table_config(data={"task": "binary", "source": source})

    target = _night(config, _rows(_text(["a", "b"]), labels)).read_target()

    assert isinstance(target, ClassTarget)
    assert target.labels(np.array([0, 1])).tolist() == values


def test_the_labels_of_a_query_are_what_the_database_has(
    table_config: MakeConfig,
) -> None:
    query = {"kind": "sql", "url": "sqlite:///x.db", "query": "SELECT 1"}
    config = table_config(
        data={"target": "color", "task": "binary", "source": query},
        columns={"size": {"kind": "number"}},
    )
    typed = _typed_text(pa.array([n % 2 for n in range(N_ROWS)]))
    text = typed.replace_schema_metadata(None).cast(
        pa.schema([pa.field(name, typed.schema.field(name).type) for name in typed.column_names])
    )

    targets = [_night(config, table).read_target() for table in (typed, text)]

    assert [getattr(target, "label_type", None) for target in targets] == ["integer", "text"]


@pytest.mark.parametrize(
    ("names", "label_type"),
    [
        (["0", "1"], "integer"),
        (["-1", "0", "10"], "integer"),
        (["False", "True"], "boolean"),
        (["FALSE", "true"], "boolean"),
        (["0.5", "1.0"], "number"),
        (["1", "1.5"], "number"),
        (["1", "1.0"], "text"),
        (["True", "true"], "text"),
        (["007", "008"], "text"),
        (["+1", "0"], "text"),
        (["0", "1", "unknown"], "text"),
        (["True", "False", "1"], "text"),
        (["0", str(2**63)], "text"),
        (["yes", "no"], "text"),
        (["2024-01-05", "2024-01-06"], "text"),
        (["nan", "inf"], "text"),
        (["\u0661", "\u0662"], "text"),
    ],
    ids=str,
)
def test_text_without_a_type_has_the_labels_that_every_class_is_written_as(
    names: list[str], label_type: str
) -> None:
    assert label_type_of(names, pa.string(), is_untyped=True) == label_type
    assert label_type_of(names, pa.string()) == "text"


@pytest.mark.parametrize(
    ("kind", "names", "label_type"),
    [
        (pa.int8(), ["0", "1"], "integer"),
        (pa.uint64(), ["0", str(2**63)], "text"),
        (pa.int64(), ["007", "1.0"], "integer"),
        (pa.int64(), ["one", "1"], "text"),
        (pa.bool_(), ["False", "True"], "boolean"),
        (pa.bool_(), ["0", "1"], "text"),
        (pa.dictionary(pa.int8(), pa.bool_()), ["false", "true"], "boolean"),
        (pa.float32(), ["0", "1"], "number"),
        (pa.date32(), ["2024-01-05", "2024-01-06"], "text"),
        (pa.large_string(), ["0", "1"], "text"),
    ],
    ids=str,
)
def test_a_typed_column_has_labels_of_its_type_if_every_class_is_one(
    kind: pa.DataType, names: list[str], label_type: str
) -> None:
    assert label_type_of(names, kind) == label_type


@pytest.mark.parametrize(
    ("kind", "declared", "classes"),
    [
        (pa.bool_(), None, ("false", "true")),
        (pa.bool_(), ("TRUE", "FALSE"), ("FALSE", "TRUE")),
        (pa.string(), None, ("False", "True")),
        (pa.int64(), None, ("False", "True")),
    ],
    ids=str,
)
def test_a_champions_classes_are_written_as_tonights_typed_column_is(
    kind: pa.DataType, declared: tuple[str, ...] | None, classes: tuple[str, ...]
) -> None:
    champion = ClassTarget("label", ("False", "True"))

    spelled = spelled_for(champion, pa.field("label", kind), declared)

    assert spelled.classes == classes


def test_the_watch_over_drift_sees_typed_values_in_the_spelling_of_the_ledger(
    table_config: MakeConfig,
) -> None:
    config = table_config()
    known = _night(config, _rows(_text(["True", "False"]))).read_encoder().known
    typed = _rows(pa.array([n % 2 == 0 for n in range(N_ROWS)]))
    snapshot = take_snapshot(find_home().dataset(config.name), RowStream.of(typed, source="toy"))
    seen: list[str] = []

    check_snapshot(
        config,
        snapshot,
        on_batch=lambda rows, _: seen.extend(rows["color"].to_pylist()),
        known=known,
    )

    assert set(seen) == {"True", "False"}


def test_labels_that_come_typed_tonight_are_no_drift_of_the_target(
    table_config: MakeConfig,
) -> None:
    config, flags = table_config(data={"task": "binary"}), _text(["red", "blue"])
    is_on = [n % 3 > 0 for n in range(N_ROWS)]
    night = date(2026, 1, 1)
    champion: str | None = None

    for labels in (pa.array([str(on) for on in is_on]), pa.array(is_on)):
        snapshot = take_snapshot(
            find_home().dataset(config.name),
            RowStream.of(_rows(flags, labels), source=str(labels.type)),
        )
        watch = Watch(config, snapshot, {})
        known = known_classes(config, find_home().dataset(config.name), champion=champion)
        check_snapshot(config, snapshot, on_batch=watch.see, known=known)
        watched = watch.finish(reference=champion, run_date=night)
        champion, night = snapshot.digest, date(2026, 1, 2)

    assert watched.rows.has_reference
    assert watched.sentences() == ()


def test_a_predefined_split_takes_typed_values_for_its_words(table_config: MakeConfig) -> None:
    words = {"train": ["1.0"], "val": ["2.0"], "test": ["3.0"]}
    config = table_config(split={"kind": "predefined", "column": "part", **words})
    parts = pa.array([1 + n % 3 for n in range(N_ROWS)])
    table = _rows(_text(["red", "blue"])).append_column("part", parts)
    snapshot = take_snapshot(find_home().dataset(config.name), RowStream.of(table, source="toy"))

    rows = split_checked(config, check_snapshot(config, snapshot))

    assert rows.n_rows == {"train": 100, "val": 100, "test": 100}
