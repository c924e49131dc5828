"""Small inputs that would cost much: they end soon, each with one short message of its own.

Time is bounded generously, for a machine that is busy and slow: what is played here took from
forty seconds to hours, or all memory.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evergreen.deployments_file import read_deployments
from pipeline_lib.config import load_config
from pipeline_lib.config.ownership import own_config
from pipeline_lib.config.sources import CsvFile, ParquetFile
from pipeline_lib.config.validation import ExpressionRule
from pipeline_lib.config.yaml_text import YamlTextError, read_yaml_text
from pipeline_lib.data.contract import expression_client
from pipeline_lib.data.contract.declared import require_columns
from pipeline_lib.data.contract.row_rules import compile_rules
from pipeline_lib.data.sources.column_names import check_names
from pipeline_lib.data.sources.open import open_source
from pipeline_lib.data.sources.paths import day_in, find_files
from pipeline_lib.data.sources.stores import BucketStore, FolderStore
from pipeline_lib.errors import (
    ConfigError,
    EvergreenError,
    MissingColumnError,
    RuleError,
    SourceError,
)

PROJECT = Path(__file__).resolve().parents[2]
CONFIG = (PROJECT / "configs" / "car_evaluation.yaml").read_text()
NIGHT = date(2026, 5, 10)
MAX_CPU_S = 20


@contextmanager
def soon() -> Iterator[None]:
    """Hold what is inside to CPU seconds of this process, which others cannot use up."""
    start = time.process_time()
    yield
    assert time.process_time() - start < MAX_CPU_S


def refused(text: str, tmp_path: Path, *assignments: str) -> str:
    """Return what is said of a config."""
    path = tmp_path / "cars.yaml"
    path.write_text(text)
    with soon(), pytest.raises(ConfigError) as raised:
        load_config(path, assignments=assignments)
    assert len(str(raised.value)) < 10_000
    return str(raised.value)


def bomb(n_levels: int, first: str, level: str) -> str:
    """Return anchors that each name the one before several times."""
    lines = [f"a0: &a0 {first}"]
    lines += [f"a{n}: &a{n} {level.replace('@', f'*a{n - 1}')}" for n in range(1, n_levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        bomb(30, "[x, x]", "[@, @, @, @]"),
        bomb(30, "{x: 1, y: 2}", "{x: @, y: @, z: @}"),
        bomb(60, "{x: 1, y: 2}", "{<<: [@, @], z: 1}"),
        bomb(30, "[x, x]", "{<<: {k: @}, l: @, m: @}"),
        bomb(6, "[" + "x, " * 3_000 + "]", "[@, @, @, @, @]"),
    ],
)
def test_aliases_that_grow_are_counted_and_not_written_out(tmp_path: Path, text: str) -> None:
    for whole in (text, f"{CONFIG}\n{text}", f"{text}\ndeployments: *a3\n"):
        assert "its aliases written out" in refused(whole, tmp_path)
        (tmp_path / "prefect.yaml").write_text(whole)
        with soon(), pytest.raises(ConfigError, match="its aliases written out"):
            read_deployments(tmp_path / "prefect.yaml", pool="evergreen")
        with soon():
            assert own_config("cars", tmp_path) is None


@pytest.mark.parametrize(
    "value",
    ["&a [*a]", "&a {b: *a}", "&a {<<: *a}", "[&a {b: [*a]}]"],
)
def test_an_alias_inside_its_own_anchor_is_told(tmp_path: Path, value: str) -> None:
    said = refused(CONFIG, tmp_path, f"training.epochs={value}")

    assert said.startswith("--set: training.epochs: ")
    assert "an alias stands inside its own anchor" in said
    assert "an alias stands inside its own anchor" in refused(f"x: {value}\n{CONFIG}", tmp_path)


@pytest.mark.parametrize(
    "value",
    [
        "[" * 400 + "]" * 400,
        "[" * 100_000,
        "{a: " * 400 + "1" + "}" * 400,
        "{a: [" * 5000,
        "- " * 3000,
        "? " * 3000,
        bomb(500, "[x]", "[@]"),
    ],
)
def test_nesting_ends_at_a_depth_that_no_config_has(tmp_path: Path, value: str) -> None:
    said = refused(CONFIG, tmp_path, f"training.epochs={value}")

    assert "is nested too deeply: more than 40 levels" in said
    assert "nested too deeply" in refused(value, tmp_path)


@pytest.mark.parametrize(
    "number",
    [
        "0x" + "f" * 200_000,
        "0b" + "1" * 500_000,
        "0o" + "7" * 200_000,
        "9" * 200_000,
        "1_" * 100_000 + "1",
        "1e" + "9" * 100_000,
        "." + "9" * 200_000,
        "%YAML 1.1\n---\n" + ":".join(["59"] * 50_000),
        "9" * 60,
        "-" + "9" * 60,
    ],
)
@pytest.mark.parametrize("key", ["training.epochs", "validation.min_rows", "training.sparse_above"])
def test_a_number_of_any_length_is_one_short_message(tmp_path: Path, key: str, number: str) -> None:
    said = refused(CONFIG, tmp_path, f"{key}={number}")

    assert len(said.splitlines()) == 1
    assert said.startswith(f"--set: {key}: ")
    assert len(said) < 300


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("columns.safety.allowed", f"[{'x' * 50_000}]"),
        ("data.target", "x" * 50_000),
        ("training.scheduler", f"{{kind: multistep, milestones: [{'9, ' * 9_000}]}}"),
        ("split", "{kind: time, val_days: 1, test_days: 1, gap_days: 1e300}"),
        ("data.source", f"{{kind: csv, path: '{'{' * 9000}'}}"),
        ("validation.rules", f"[{{kind: expression, name: r, expression: '{'x+' * 9000}x'}}]"),
        ("training.epochs", "!!python/object/apply:os.system [x]"),
        ("a." * 300 + "a", "1"),
        ("a." * 50_000 + "a", "1"),
        ("x" * 500_000, "1"),
        ("", "1"),
    ],
)
def test_a_long_text_is_told_in_a_short_one(tmp_path: Path, key: str, value: str) -> None:
    assert len(refused(CONFIG, tmp_path, f"{key}={value}")) < 1500


def test_a_config_that_never_ends_is_read_to_its_bound() -> None:
    with soon(), pytest.raises(ConfigError, match=r"cannot be read|has more than 1,000,000"):
        load_config("/dev/zero")


def test_a_slip_in_thousands_of_columns_is_told_by_the_first_of_them(tmp_path: Path) -> None:
    wrong = "".join(f"  c{n}: {{kind: categori}}\n" for n in range(3000))

    said = refused(CONFIG.replace("columns:\n", f"columns:\n{wrong}"), tmp_path)

    assert "kind 'categori' does not exist; did you mean category?" in said
    assert len(said.splitlines()) == 21
    assert said.endswith("and at least 180 more")


def test_more_columns_than_a_table_may_have_are_refused(tmp_path: Path) -> None:
    many = "  q: &q {kind: category}\n" + "".join(f"  c{n}: *q\n" for n in range(12_000))

    said = refused(CONFIG.replace("columns:\n", f"columns:\n{many}"), tmp_path)

    assert "columns: has more than 10000" in said
    with soon(), pytest.raises(EvergreenError, match="has 60,000 columns; a table may have 10,000"):
        check_names([f"c{n}" for n in range(60_000)], "wide.csv")


def test_a_wide_csv_is_refused_by_its_header(tmp_path: Path) -> None:
    names = ",".join(f"column_{n}" for n in range(60_000))
    row = ",".join("1" for _ in range(60_000))
    (tmp_path / "wide.csv").write_text("\n".join([names, *[row] * 30]))

    with soon(), pytest.raises(EvergreenError, match="has 60,000 columns"):
        open_source(CsvFile(path="wide.csv"), root=tmp_path, run_date=NIGHT)


@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_a_parquet_file_of_a_row_group_per_row_is_read_in_linear_time(
    tmp_path: Path, kind: pa.DataType
) -> None:
    numbers = list(range(30_000))
    table = pa.table({"x": numbers, "w": pa.array([f"w{n % 999}" for n in numbers]).cast(kind)})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=1)

    with soon():
        stream = open_source(ParquetFile(path="x.parquet"), root=tmp_path, run_date=NIGHT)
        batches = list(stream.batches())

    found = pa.Table.from_batches(batches).to_pydict()
    assert found == table.to_pydict()
    assert len(batches) < 100


def test_names_are_held_against_each_other_in_linear_time() -> None:
    names = [f"c{n}" for n in range(9_999)]

    with soon():
        check_names(names, "wide.csv")
        table = pa.table({name: [1] for name in names})
        require_columns(table, names, source="wide.csv")
        with pytest.raises(MissingColumnError) as missing:
            require_columns(table, [f"d{n}" for n in range(9_999)], source="wide.csv")

    assert len(str(missing.value)) < 2000
    with soon(), pytest.raises(EvergreenError, match="'c7'"):
        check_names([*names, "c7"], "wide.csv")


DEEP = "/".join(["a"] * 60)


@pytest.mark.parametrize(
    "pattern",
    [
        "**/" * 10 + "{YYYY}-{MM}-{DD}.csv",
        "**/a/" * 10 + "{YYYY}-{MM}-{DD}.csv",
        "**/**/**/a/**/**/**/b/**/{YYYY}-{MM}-{DD}.csv",
        "**/" * 200 + "{YYYY}{MM}{DD}",
        "*a" * 60 + "{YYYY}-{MM}-{DD}.csv",
        "**/" + "*a*" * 40 + "/{YYYY}{MM}{DD}.csv",
        "{YYYY}*{MM}*{DD}*" * 10 + "x",
        "[" * 2000 + "{YYYY}{MM}{DD}",
    ],
)
def test_a_path_is_read_in_linear_time_whatever_its_stars_could_mean(pattern: str) -> None:
    paths = [f"{DEEP}/x.csv", "a" * 250 + "/" + "a" * 250, "1" * 250, f"{DEEP}/2026-05-01.cs"]

    with soon():
        for path in paths:
            with contextlib.suppress(SourceError):  # too many ways to read it as a date
                assert day_in(path, pattern) is None


@pytest.mark.parametrize("n_stars", [1, 3, 10, 40])
def test_a_deep_folder_is_walked_once(tmp_path: Path, n_stars: int) -> None:
    folder = tmp_path / DEEP
    folder.mkdir(parents=True)
    (folder / "2026-05-01.csv").write_text("a\n1\n")
    pattern = "**/" * n_stars

    with soon():
        for name in ("{YYYY}-{MM}-{DD}.csv", "*.csv", "*a*a*a*a*a*a*.cvs", "b/**/**/x"):
            store = FolderStore(tmp_path)
            if name.startswith(("*a", "b")):
                assert store.matches(pattern + name) == {}
            else:
                found = find_files(pattern + name, store, window_days=None, run_date=NIGHT)
                assert [Path(each.file.name) for each in found.files] == [folder / "2026-05-01.csv"]


def test_a_bucket_is_matched_in_linear_time() -> None:
    system: Any = fsspec.filesystem("memory")
    system.pipe(f"/costs/{DEEP}/2026-05-01.csv", b"a\n1\n")
    store = BucketStore(system, "memory://")

    with soon():
        found = store.matches("memory://costs/" + "**/" * 12 + "*.csv")
        assert store.matches("memory://costs/" + "**/" * 12 + "*a*a*a*a*a*a*b") == {}

    system.rm("/costs", recursive=True)
    assert list(found) == [f"memory://costs/{DEEP}/2026-05-01.csv"]


ROWS = pa.table({"name": ["abcdef" * 1000] * 2000, "price": [1.0] * 2000, "fine": [True] * 2000})


def rule_refused(expression: str) -> str:
    """Return what is said of a rule that costs too much; another one works afterwards."""
    rule = ExpressionRule(name="dear", expression=expression)
    fine = ExpressionRule(name="fine", expression="price > 1")
    with soon(), pytest.raises(RuleError) as raised:
        compile_rules([rule], ROWS.schema, root=Path())[0].broken_rows(ROWS, first_row=0)
    (after,) = compile_rules([fine], ROWS.schema, root=Path())
    assert len(after.broken_rows(ROWS, first_row=0)[0].rows) == 2000
    assert len(str(raised.value)) < 600
    return str(raised.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "expression",
    [
        "levenshtein(name, reverse(name)) > 1",
        "lpad(name, 2000000000, 'x') = name",
        "lpad('x', 2000000000, 'x') = name",
        "damerau_levenshtein(name || name, reverse(name)) > 1",
    ],
)
def test_a_rule_that_computes_for_too_long_is_ended(expression: str) -> None:
    assert "rule 'dear': validation.rules" in (said := rule_refused(expression))
    assert "takes more than" in said
    assert "write it more cheaply" in said


@pytest.mark.parametrize(
    "expression",
    [
        "rpad(name, 900000000, 'xxxxxxxxxxxxxxxx') = name OR " * 3 + "FALSE",
        " || ".join(["name"] * 240) + " || name = 'x'",
    ],
)
def test_a_rule_that_takes_too_much_memory_is_ended(
    expression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = expression_client.ExpressionProcess()
    monkeypatch.setattr("pipeline_lib.data.contract.expressions._PROCESS", process)
    monkeypatch.setattr(expression_client, "MAX_MEMORY_MB", 64)

    said = rule_refused(expression)

    process.end()
    assert "takes more than" in said


@pytest.mark.parametrize(
    "expression",
    [
        "+".join(["price"] * 900) + " > 1",
        "(" * 900 + "price > 1" + ")" * 900,
        "NOT " * 900 + "price > 1",
        "- " * 900 + "price > 1",
        "CASE WHEN fine THEN " * 300 + "TRUE" + " END" * 300,
    ],
)
def test_a_rule_that_is_nested_too_deeply_is_told(expression: str) -> None:
    assert "is nested too deeply; write it as several rules" in rule_refused(expression)


def test_a_long_rule_that_is_flat_is_fine() -> None:
    either = " OR ".join(f"price = {n}" for n in range(500))
    rule = ExpressionRule(name="one_of", expression=either)

    (compiled,) = compile_rules([rule], ROWS.schema, root=Path())

    assert compiled.broken_rows(ROWS, first_row=0) == []


def test_the_process_of_rules_ends_with_its_python() -> None:
    program = """
import pyarrow as pa
from pathlib import Path
from pipeline_lib.config.validation import ExpressionRule
from pipeline_lib.data.contract import expressions
from pipeline_lib.data.contract.row_rules import compile_rules
rows = pa.table({"price": [1.0]})
compile_rules([ExpressionRule(name="r", expression="price > 0")], rows.schema, root=Path())
print(expressions._PROCESS._process.pid)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=900
    )

    end = time.monotonic() + 900
    while time.monotonic() < end and Path(f"/proc/{done.stdout.strip()}").exists():
        time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


@pytest.mark.slow
def test_ten_thousand_columns_still_load(tmp_path: Path) -> None:
    many = "".join(f"  c{n}: {{kind: number, nullable: true}}\n" for n in range(9_990))
    (tmp_path / "wide.yaml").write_text(CONFIG.replace("columns:\n", f"columns:\n{many}"))

    assert len(load_config(tmp_path / "wide.yaml").columns) > 9_990


def test_a_text_of_a_megabyte_is_refused_unread() -> None:
    with soon(), pytest.raises(YamlTextError, match="has more than 1,000,000 characters"):
        read_yaml_text("x: " + "a" * 1_000_001)
