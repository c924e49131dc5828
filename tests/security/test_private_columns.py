"""Personal data: a private column's words are nowhere but where they are worked with."""

import json
import os
import sqlite3
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from pipeline_lib import fit
from pipeline_lib.config import PipelineConfig, load_config
from pipeline_lib.config.columns import CategoryColumn, DatetimeColumn, HashColumn, NumberColumn
from pipeline_lib.encoding import Encoder
from pipeline_lib.encoding.codebook import codebook
from pipeline_lib.errors import ContractError, DataError, RuleError, UnknownCategoryError
from pipeline_lib.monitoring.drift import compare
from pipeline_lib.monitoring.leakage import leaks_in
from pipeline_lib.monitoring.profile import CategoryProfile, Profiler
from pipeline_lib.shown import hashed
from tests.conftest import MakeConfig, MakeTable
from tests.unit.data.in_memory import check_rows

PLANTED = "planted"
_CONFIG = """
name: people
data: {source: {kind: parquet, path: people.parquet}, target: label, task: binary}
columns:
  mail: {kind: category, private: true, severity: quarantine, min_count: 2}
  street: {kind: hash, n_buckets: 64}
  plan: {kind: category, private: true, allowed: [planted-gold, planted-free], severity: warn}
  age: {kind: number, private: true, severity: quarantine}
  size: {kind: number}
  note: {kind: category}
validation:
  quarantine: {max_rows: 100, max_percent: 50}
  rules:
    - {name: same, kind: expression, expression: "mail <> street or mail is null", severity: warn}
  drift: {severity: warn}
split: {kind: hash, seed: 1}
model: {kind: embedding_mlp, d_hidden: [8], dropout: 0.0, dropout_embedding: 0.0}
training: {epochs: 12, batch_size: 32, device: cpu}
"""


def people(n_rows: int, *, night: int) -> pd.DataFrame:
    """Return rows with 60 mail addresses, other ones each night, and a few that break rules."""
    random = np.random.default_rng(night)
    size = random.normal(20.0, 5.0, n_rows)
    who = random.integers(0, 60, n_rows) + 40 * night
    rows = pd.DataFrame(
        {
            "mail": [f"{PLANTED}-{n}@example.org" for n in who],
            "street": [f"{PLANTED} street {n}" for n in random.integers(0, 200, n_rows)],
            "plan": random.choice([f"{PLANTED}-gold", f"{PLANTED}-free"], n_rows),
            "age": [str(n) for n in random.integers(18, 80, n_rows)],
            "size": size,
            "note": random.choice(["wild\x1b[2J\r", f"\u202e{night}", "tame"], n_rows),
            "label": np.where(size > 20, "yes", "no"),
        }
    )
    rows.loc[:3, "mail"] = None
    rows.loc[4:6, "plan"] = f"{PLANTED}-unknown"
    rows.loc[7:9, "age"] = f"{PLANTED} of age"
    rows.loc[10:12, "street"] = rows.loc[10:12, "mail"]
    return rows


def evergreen(*arguments: str, cwd: Path, home: Path) -> str:
    """Run the command; return all that it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "evergreen", *arguments],
        cwd=cwd,
        env={**os.environ, "EVERGREEN_HOME": str(home), "PYTHONPATH": os.getcwd()},  # noqa: PTH109
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_no_byte_of_two_nights_holds_a_private_word_outside_ledger_and_package(
    tmp_path: Path,
) -> None:
    project, home, tmp = tmp_path / "project", tmp_path / "home", tmp_path / "tmp"
    for folder in (project, tmp):
        folder.mkdir()
    config = project / "people.yaml"
    config.write_text(_CONFIG)
    said = ""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp))
        for night in (0, 1):
            people(900, night=night).to_parquet(project / "people.parquet", index=False)
            said += evergreen("run", str(config), "--promote", cwd=project, home=home)

    found = [path for path in files_of(home) if PLANTED in bytes_of(path)]
    strange = [path for path in found if not is_a_place_of_words(path.relative_to(home))]
    assert not strange, strange
    assert not [path for path in files_of(tmp) if PLANTED in bytes_of(path)]
    assert any("ledger" in path.parts for path in found)
    assert any("models" in path.parts for path in found)
    pages = [path.read_text() for path in home.rglob("report.md")]
    private = hashed(f"{PLANTED}-unknown")
    assert private is not None
    for text in (said, *pages):
        assert PLANTED not in text
        assert private in text
        # Words that are not private, and give orders to a terminal.
        assert all(line.isprintable() for line in text.splitlines())
    assert "matters: mail: " in said
    assert r"wild\\x1b\[2J" in "".join(pages)


def is_a_place_of_words(path: Path) -> bool:
    """Return whether a path of the home is one of those the reference names for words."""
    parts = path.parts
    if parts[0] == "quarantine" and path.suffix == ".parquet":
        return True
    if parts[0] == "runs":  # the model's folder
        return parts[2] == "model"
    if parts[0] == "artifacts":  # the package
        return "models" in parts
    if parts[0] == "datasets":
        is_rows = parts[2] == "snapshots" and path.name == "rows.parquet"
        is_data = path.suffix == ".parquet" or path.name == "encoder.json"
        is_encoded = parts[2] in ("encoded", "segments", "splits") and is_data
        return parts[2] == "ledger" or is_rows or is_encoded
    return False


def files_of(folder: Path) -> list[Path]:
    """Return every file below a folder."""
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def bytes_of(path: Path) -> str:
    """Return a file's text; of parquet that of its values, which are packed; of SQLite its rows."""
    text = path.read_bytes().decode("latin-1")
    if path.suffix == ".parquet":
        text += repr(pq.read_table(path).to_pydict()) + repr(pq.read_schema(path).metadata)
    if text.startswith("SQLite format 3"):
        with sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True) as database:
            text += "\n".join(database.iterdump())
    return text


@pytest.fixture
def private_config(table_config: MakeConfig) -> PipelineConfig:
    """Return a config whose color is private."""
    return table_config(
        columns={"color": {"kind": "category", "private": True}, "size": {"kind": "number"}}
    )


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (CategoryColumn(private=True, allowed=("planted-a", "b")), ["planted-b", "planted-a"]),
        (NumberColumn(private=True), ["planted", "1"]),
        (NumberColumn(private=True, maximum=10), ["7000123", "1"]),
        (NumberColumn(private=True), ["9007199254740993", "1"]),
        (DatetimeColumn(private=True), ["planted", "2026-01-01"]),
        (DatetimeColumn(private=True, latest="2026-01-01"), ["2031-07-19", "2026-01-01"]),
        (DatetimeColumn(private=True), ["1987-07-19T10:00:00", "2026-01-01T00:00:00Z"]),
    ],
)
def test_a_broken_rule_quotes_hashes(
    column: CategoryColumn | NumberColumn | DatetimeColumn,
    values: list[str],
    table_config: MakeConfig,
) -> None:
    config = table_config()
    table = pa.table({"x": values * 30, "label": ["a", "b"] * 30})

    with pytest.raises(ContractError) as raised:
        check_rows(table, {"x": column}, config.data, config.validation, source="s")

    said = str(raised.value) + repr(raised.value) + repr(raised.value.violations)
    for value in ("planted", "7000123", "9007199254740993", "2031-07-19", "1987-07-19"):
        assert value not in said
    assert "#" in said


def test_rules_over_rows_quote_hashes_and_no_error_of_theirs(
    private_config: PipelineConfig, toy_table: MakeTable, tmp_path: Path
) -> None:
    (tmp_path / "house_rules.py").write_text(
        "def fails(rows):\n    raise ValueError(rows['color'][0].as_py())\n"
    )
    table = toy_table()

    def said(rule: dict[str, str]) -> str:
        tree = private_config.model_dump(mode="json")
        tree["validation"]["rules"] = [{"name": "r", "kind": next(iter(rule)), **rule}]
        config = PipelineConfig.model_validate(tree)
        with pytest.raises((ContractError, RuleError)) as raised:
            check_rows(
                table, config.columns, config.data, config.validation, source="s", root=tmp_path
            )
        assert raised.value.__cause__ is None
        return str(raised.value)

    broken = said({"expression": "size < 0 and color is not null"})
    cast = said({"expression": "CAST(color AS INTEGER) > size"})
    failed = said({"function": "house_rules:fails"})

    for text in (broken, cast, failed):
        assert not any(f"{color}'" in text or f" {color}" in text for color in table["color"])
        assert not any(color in text for color in ("red", "green", "blue", "teal"))
    assert "size=" in broken
    assert "color='#" in broken
    assert "ConversionException" in cast
    assert "ValueError" in failed


def test_profiles_drift_and_leaks_show_hashes(private_config: PipelineConfig) -> None:
    columns = {
        "mail": CategoryColumn(private=True),
        "street": HashColumn(),
        "same": CategoryColumn(private=True),
        "copy": CategoryColumn(private=True),
    }

    def profile(prefix: str) -> tuple[Profiler, pa.Table]:
        rows = [f"{prefix}-{n % 5}" for n in range(2000)]
        label = ["yes" if n % 5 < 2 else "no" for n in range(2000)]
        table = pa.table(
            {
                "mail": rows,
                "street": rows,
                "same": [f"{prefix}-one"] * 2000,
                "copy": [f"{prefix}-{word}" for word in label],
                "label": label,
            }
        )
        known = {name: pa.array([f"{prefix}-0"]) for name in columns}
        profiler = Profiler(columns, target="label", task="binary", known=known)
        profiler.add(table)
        return profiler, table

    before, now = profile("planted-a")[0].finish(), profile("planted-b")[0].finish()
    raw = Profiler(
        {name: CategoryColumn() for name in columns}, target="label", task="binary"
    )  # of a night before the columns were private
    raw.add(profile("planted-a")[1])
    old = raw.finish().hiding(columns)
    told = [json.dumps(each.to_json()) for each in (before, now, old)]
    for earlier in (before, old):
        settings = private_config.validation.drift
        report = compare(earlier, now, history=[], settings=settings, run_date=date(2026, 5, 1))
        told += [report.to_markdown(), "\n".join(report.sentences), json.dumps(report.to_json())]
        assert report.matters
        assert "#" in report.to_markdown()
    leaks = leaks_in(profile("planted-a")[1], columns, "label", "binary")

    told += [leak.sentence for leak in leaks]
    assert {leak.kind for leak in leaks} >= {"constant", "copy"}
    assert not [text for text in told if "planted" in text]
    mail = old.columns["mail"]
    assert isinstance(mail, CategoryProfile)
    assert {word.word for word in mail.top} == {f"{hashed(f'planted-a-{n}')}" for n in range(5)}


def test_an_unknown_category_and_the_codes_are_told_as_hashes(
    private_config: PipelineConfig, toy_table: MakeTable
) -> None:
    column = CategoryColumn(private=True, on_unknown="error")
    columns = {**private_config.columns, "color": column}
    encoder = Encoder.fit(toy_table().select(["color", "size"]), columns, today="2026-05-01")

    with pytest.raises(UnknownCategoryError) as raised:
        encoder.encode_categories(pa.table({"color": ["planted"], "size": [1.0]}))

    said = str(raised.value) + repr(vars(raised.value)) + json.dumps(codebook(encoder))
    assert "planted" not in said
    assert not any(color in said for color in ("red", "green", "blue", "teal"))
    assert f"{hashed('planted')}" in str(raised.value)
    assert len(encoder.vocabularies["color"].categories) == 4  # the package keeps the words


def test_a_model_of_private_columns_predicts_and_its_refusals_quote_nothing(
    private_config: PipelineConfig, toy_table: MakeTable, tmp_path: Path
) -> None:
    from pipeline_lib import load_model

    model = fit(private_config, toy_table())
    model.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")

    assert loaded.encoder.columns["color"].hides_values
    assert len(loaded.predict({"color": ["red"], "size": [1.0]})) == 1
    for value in (b"planted", 1.5, ["planted"]):
        frame = pd.DataFrame({"color": ["red", value], "size": [1.0, 2.0]})
        with pytest.raises(DataError) as raised:
            loaded.predict(frame)
        assert "planted" not in str(raised.value)
        assert "1.5" not in str(raised.value)


def test_what_mlflow_is_told_of_a_config_has_hashes_for_allowed_words() -> None:
    allowed = ("planted-a", "planted-b")
    config = load_config(Path("configs/car_evaluation.yaml"))
    columns = {
        "mail": CategoryColumn(private=True, allowed=allowed),
        "plan": CategoryColumn(allowed=("open",)),
    }
    private = config.model_copy(update={"columns": columns})

    public = private.without_private_words()

    assert "planted" not in public.model_dump_json()
    assert public.columns["plan"] == columns["plan"]
    assert public.root == private.root
    assert private.columns["mail"] == columns["mail"]


def test_columns_that_are_not_private_keep_the_digests_of_earlier_releases() -> None:
    plain, private = CategoryColumn(), CategoryColumn(private=True)

    assert "private" not in plain.model_dump(mode="json")
    assert private.model_dump(mode="json")["private"] is True
    assert CategoryColumn.model_validate(private.model_dump(mode="json")) == private


def test_a_hash_stands_for_a_value_once_and_for_all() -> None:
    assert hashed("ann") == hashed("ann") == hashed(hashed("ann")) != hashed("bob")
    assert hashed(None) is None
    assert len(f"{hashed('a' * 10_000)}") == 9
    assert f"{hashed(7)}".startswith("#")


def test_a_private_key_is_quoted_as_a_hash_and_the_target_cannot_be_private(
    table_config: MakeConfig,
) -> None:
    data = {"key": ["id", "day"], "private": ["id"]}
    config = table_config(data=data, columns={"size": {"kind": "number"}})
    twice = pa.table(
        {
            "id": [f"planted-{n // 2}" for n in range(60)],
            "day": ["monday"] * 60,
            "size": [float(n) for n in range(60)],
            "label": ["a", "b"] * 30,
        }
    )

    with pytest.raises(ContractError) as raised:
        check_rows(twice, config.columns, config.data, config.validation, source="s")

    assert "planted" not in str(raised.value)
    assert f"id='{hashed('planted-0')}', day='monday'" in str(raised.value)
    assert table_config().data.model_dump() == {
        key: value for key, value in table_config().data.model_dump().items() if key != "private"
    }
    for wrong, told in (("label", "is the target"), ("idd", "did you mean id"), ("size", "own")):
        with pytest.raises(ValidationError, match=told):
            table_config(data={**data, "private": [wrong]}, columns={"size": {"kind": "number"}})
