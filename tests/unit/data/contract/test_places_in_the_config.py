"""What only rows can show is reported with the line of the config that has to change."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline_lib.config import load_config
from pipeline_lib.data.contract.check_snapshot import contract_checker
from pipeline_lib.data.contract.checker import ContractChecker
from pipeline_lib.errors import ConfigError, MissingColumnError, RuleError

TEXT = """\
name: shop
data:
  source: {kind: csv, path: shop.csv}
  target: label
  task: binary
  key: [id]
columns:
  color: {kind: category}
  size: {kind: number}
split: {kind: group, columns: [shop]}
validation:
  rules:
    - {kind: expression, name: positive, expression: size > 0}
    - {kind: expression, name: tall, expression: sizee > 2}
    - {kind: function, name: sane, function: checks:sane}
"""
COLUMNS = {"id": ["1"], "color": ["red"], "size": ["1"], "shop": ["a"], "label": ["x"]}


@pytest.fixture(autouse=True)
def in_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go to the project of the config."""
    (tmp_path / "prefect.yaml").touch()
    monkeypatch.chdir(tmp_path)


def checker_of(text: str) -> ContractChecker:
    """Return the checker of a config's contract."""
    Path("shop.yaml").write_text(text)
    return contract_checker(load_config("shop.yaml"), source="shop.csv")


def test_rules_that_are_wrong_are_reported_together_each_at_its_line() -> None:
    with pytest.raises(ConfigError) as raised:
        checker_of(TEXT)

    lines = str(raised.value).splitlines()
    assert [line.partition(": validation")[0] for line in lines] == [
        "shop.yaml:14: rule 'tall'",
        "shop.yaml:15: rule 'sane'",
    ]
    assert "did you mean size?" in lines[0]
    assert "module 'checks' cannot be imported" in lines[1]


def test_a_rule_that_fails_on_rows_is_reported_at_its_line() -> None:
    Path("checks.py").write_text("def sane(table):\n    raise KeyError('weight')\n")
    checker = checker_of(TEXT.replace("sizee > 2", "size > 2"))

    with pytest.raises(RuleError) as raised:
        checker.check(pa.table(COLUMNS))

    assert str(raised.value).startswith("shop.yaml:15: rule 'sane': validation.rules: ")
    assert raised.value.rule == "sane"


@pytest.mark.parametrize(
    ("absent", "named"),
    [
        ("color", "`columns.color` (shop.yaml:8)"),
        ("label", "`data.target` (shop.yaml:4)"),
        ("id", "`data.key` (shop.yaml:6)"),
        ("shop", "`split` (shop.yaml:10)"),
    ],
)
def test_a_column_that_is_not_there_is_reported_with_the_key_that_names_it(
    absent: str, named: str
) -> None:
    checker = checker_of(TEXT[: TEXT.index("validation:")])
    table = pa.table(COLUMNS).drop_columns([absent])

    with pytest.raises(MissingColumnError) as raised:
        checker.check(table)

    assert f"column '{absent}': is missing, named by {named}" in str(raised.value)
