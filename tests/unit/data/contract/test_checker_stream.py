"""A stream of batches held to the contract: severities, budgets, keys, borders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config import PipelineConfig
from pipeline_lib.errors import (
    ContractError,
    DataError,
    QuarantineBudgetError,
    RuleError,
    SourceError,
)
from tests.unit.data.contract.contracts import (
    ALL,
    SEVERITIES,
    checker_of,
    report_of,
    severe,
    with_bad_sizes,
    with_column,
)
from tests.unit.data.in_memory import check_rows

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]


def test_rows_that_keep_every_rule_are_reported_as_such(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    report = report_of(table_config(), toy_table(50), 7)

    assert (report.n_rows, report.n_quarantined, report.violations) == (50, 0, ())
    assert not report.mask(0, 50).any()


@pytest.mark.parametrize("n_rows", [3, 1000])
def test_a_column_that_a_rule_of_severity_stop_finds_wrong_is_told_when_all_rows_were_seen(
    table_config: MakeConfig, toy_table: MakeTable, n_rows: int
) -> None:
    config = table_config(**severe("stop", minimum=0))
    table = with_bad_sizes(toy_table(50), "-1", "?", None, "-1", "-2")

    with pytest.raises(ContractError) as raised:
        report_of(config, table, n_rows)

    told = {v.rule: (v.n_rows, v.examples) for v in raised.value.violations}
    assert told == {
        "type": (1, ("'?'",)),
        "nullable": (1, ()),
        "range": (3, ("-1.0", "-2.0")),
    }


def test_rows_that_break_a_rule_of_severity_quarantine_are_put_aside_once_with_all_names(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    rules = [
        {"kind": "expression", "name": n, "expression": e, "severity": "quarantine"}
        for n, e in (("not tiny", "size > -5"), ("not cold", "size > 0 OR color <> 'red'"))
    ]
    sections = severe("quarantine", minimum=0)
    config = table_config(columns=sections["columns"], validation={**ALL, "rules": rules})
    table = with_column(with_bad_sizes(toy_table(50), "-9", "?", "-1"), "color", ["red"] * 50)

    report = report_of(config, table)

    assert report.quarantined_rows.tolist() == [0, 1, 2]
    assert report.quarantined_rules == (
        ("size: range", "not tiny", "not cold"),
        ("size: type",),
        ("size: range", "not cold"),
    )
    assert {(v.rule, v.severity, v.n_rows) for v in report.violations} == {
        ("type", "quarantine", 1),
        ("range", "quarantine", 2),
        ("not tiny", "quarantine", 1),
        ("not cold", "quarantine", 2),
    }


def test_rows_that_break_a_rule_of_severity_warn_are_used_but_not_what_cannot_be_read(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config(**severe("warn", minimum=0))
    table = with_bad_sizes(toy_table(50), "-9", "?", None)

    report = report_of(config, table)

    assert report.quarantined_rows.tolist() == [1]
    assert [(v.rule, v.severity) for v in report.violations] == [
        ("type", "quarantine"),
        ("nullable", "warn"),
        ("range", "warn"),
    ]


def test_a_batch_comes_back_typed_as_long_as_it_came(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    checker = checker_of(table_config(**severe("quarantine")))

    batch = checker.check(with_bad_sizes(toy_table(4), "?", "1.5"))

    assert batch.quarantined.tolist() == [True, False, False, False]
    assert batch.typed["size"].to_pylist()[:2] == [None, 1.5]
    assert batch.typed.num_rows == 4


def test_record_batches_are_checked_as_tables_are(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    checker = checker_of(table_config(data={"key": ["size"]}))
    batches = toy_table(50).to_batches(max_chunksize=9)

    for batch in batches:
        checker.check(batch)

    assert checker.finish(lambda: batches).n_rows == 50


def test_a_rule_of_severity_stop_is_told_by_name_with_its_rows(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    rule = {"kind": "expression", "name": "big enough", "expression": "size >= 5"}
    config = table_config(validation={"rules": [rule]})

    with pytest.raises(ContractError) as raised:
        report_of(config, with_column(toy_table(50), "size", [9.0] * 49 + [1.0]), 20)

    assert "rule 'big enough': 1 row breaks `size >= 5`, such as row 50 (size=1.0)" in str(
        raised.value
    )


def test_a_function_of_the_project_judges_rows(
    table_config: MakeConfig, toy_table: MakeTable, tmp_path: Path
) -> None:
    text = "def no_teal(rows): return [c != 'teal' for c in rows['color'].to_pylist()]\n"
    (tmp_path / "toy_rules.py").write_text(text, "utf-8")
    function = {"kind": "function", "name": "no teal", "function": "toy_rules:no_teal"}
    config = table_config(validation={**ALL, "rules": [{**function, "severity": "quarantine"}]})
    table = toy_table(50)

    rows = check_rows(
        table, config.columns, config.data, config.validation, source="toy.csv", root=tmp_path
    )

    assert rows["color"].to_pylist() == [c for c in table["color"].to_pylist() if c != "teal"]


def test_a_rule_with_a_typo_is_told_before_any_row_is_read(table_config: MakeConfig) -> None:
    rule = {"kind": "expression", "name": "typo", "expression": "sizze > 0"}

    with pytest.raises(RuleError, match=r"did you mean size\?"):
        checker_of(table_config(validation={"rules": [rule]}))


@pytest.mark.parametrize("severity", SEVERITIES)
def test_labels_have_no_severity_they_stop(
    table_config: MakeConfig, toy_table: MakeTable, severity: str
) -> None:
    config = table_config(data={"classes": ["hot", "large", "small"]}, **severe(severity))
    table = toy_table(50)

    with pytest.raises(ContractError) as raised:
        report_of(
            config, with_column(table, "label", [None, "huge", *table["label"].to_pylist()[2:]])
        )

    assert [v.rule for v in raised.value.violations] == ["nullable", "allowed"]


@pytest.mark.parametrize(
    ("budget", "n_bad", "is_over"),
    [
        ({"max_rows": 3, "max_percent": 100}, 3, False),
        ({"max_rows": 3, "max_percent": 100}, 4, True),
        ({"max_rows": 100, "max_percent": 10}, 5, False),
        ({"max_rows": 100, "max_percent": 10}, 6, True),
        ({"max_rows": 0, "max_percent": 100}, 1, True),
        ({"max_rows": 0, "max_percent": 0}, 0, False),
    ],
)
def test_more_rows_than_the_budget_allows_stop_the_night(
    table_config: MakeConfig, toy_table: MakeTable, budget: Any, n_bad: int, is_over: bool
) -> None:
    config = table_config(
        columns=severe("quarantine")["columns"], validation={"quarantine": budget}
    )
    table = with_bad_sizes(toy_table(50), *["?"] * n_bad)

    if not is_over:
        assert report_of(config, table, 3).n_quarantined == n_bad
        return
    with pytest.raises(QuarantineBudgetError) as raised:
        report_of(config, table, 3)

    assert raised.value.exit_code == 3
    assert (raised.value.n_quarantined, raised.value.n_rows) == (n_bad, 50)
    assert f"{n_bad} of 50 rows" in str(raised.value)
    assert "`validation.quarantine.max_" in str(raised.value)
    held = "1 row holds" if n_bad == 1 else f"{n_bad} rows hold"
    assert f"column 'size': {held} text that is not a number" in str(raised.value)


def test_the_rows_left_have_to_be_enough(table_config: MakeConfig, toy_table: MakeTable) -> None:
    config = table_config(**severe("quarantine"))
    table = with_bad_sizes(toy_table(22), "?", "?", "?")

    with pytest.raises(SourceError, match=r"19 rows left of 22, fewer than `validation.min_rows`"):
        report_of(config, table)


def test_one_row_is_too_few(table_config: MakeConfig, toy_table: MakeTable) -> None:
    with pytest.raises(SourceError, match=r"toy\.csv has 1 row, fewer than"):
        report_of(table_config(), toy_table(1))


def test_no_batch_at_all_is_too_few_rows(table_config: MakeConfig) -> None:
    with pytest.raises(SourceError, match=r"toy\.csv has 0 rows"):
        checker_of(table_config()).finish()


def test_a_class_is_counted_without_rows_put_aside(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config(**severe("quarantine"))
    table = with_bad_sizes(toy_table(50), "?", "1", "1", "1")
    table = with_column(table, "label", ["rare", "rare", "rare", *table["label"].to_pylist()[3:]])

    with pytest.raises(ContractError, match="class 'rare' has 2 rows"):
        report_of(config, table)


def test_a_target_of_names_is_told_in_one_line(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = with_column(toy_table(5000), "label", [f"name {i}" for i in range(5000)])

    with pytest.raises(ContractError, match="has 5000 classes with fewer rows") as raised:
        report_of(table_config(), table)

    assert len(str(raised.value)) < 600


def _keyed(toy_table: MakeTable, ids: list[Any]) -> pa.Table:
    return toy_table(len(ids)).append_column("id", pa.array(ids))


@pytest.mark.parametrize("n_rows", [1, 7, 1000])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_key_that_stands_twice_does_what_its_setting_says(
    table_config: MakeConfig, toy_table: MakeTable, severity: str, n_rows: int
) -> None:
    config = table_config(data={"key": ["id"]}, validation={**ALL, "unique_key": severity})
    table = _keyed(toy_table, [*range(40), 3, 5, 3])

    if severity == "stop":
        with pytest.raises(ContractError, match=r"3 rows have a key .* row 41 \(id='3'\)"):
            report_of(config, table, n_rows)
        return
    report = report_of(config, table, n_rows)

    assert report.violations[0].n_rows == 3
    aside = [40, 41, 42] if severity == "quarantine" else []
    assert report.quarantined_rows.tolist() == aside
    assert report.quarantined_rules == (("id: unique",),) * len(aside)


def test_labels_of_repeated_keys_put_aside_do_not_count(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config(data={"key": ["id"]}, validation={**ALL, "unique_key": "quarantine"})
    table = _keyed(toy_table, [*range(40), 0])
    table = with_column(table, "label", ["rare", "rare", *table["label"].to_pylist()[2:-1], "rare"])

    with pytest.raises(ContractError, match="class 'rare' has 2 rows"):
        report_of(config, table)


def test_a_row_that_repeats_a_key_and_breaks_a_rule_is_put_aside_once(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config(
        data={"key": ["id"]},
        columns=severe("quarantine")["columns"],
        validation={**ALL, "unique_key": "quarantine"},
    )
    table = with_bad_sizes(_keyed(toy_table, [9, 9, *range(10, 50)]), "1", "?")

    report = report_of(config, table)

    assert report.quarantined_rows.tolist() == [1]
    assert report.quarantined_rules == (("id: unique", "size: type"),)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_key_without_a_value_is_told_as_such_and_repeats_none(
    table_config: MakeConfig, toy_table: MakeTable, severity: str
) -> None:
    config = table_config(data={"key": ["id", "color"]}, validation={**ALL, "unique_key": severity})
    table = _keyed(toy_table, [None, None, *range(40)])

    if severity == "stop":
        with pytest.raises(ContractError, match="'id': 2 rows have no value and so no key"):
            report_of(config, table)
        return
    report = report_of(config, table)

    assert [(v.rule, v.n_rows, v.severity) for v in report.violations] == [("key", 2, severity)]
    assert report.n_quarantined == (2 if severity == "quarantine" else 0)


def test_messages_stay_short_for_a_million_characters_in_every_column(
    table_config: MakeConfig,
) -> None:
    huge = ["y" * 1_000_000 + str(i) for i in range(30)]
    columns = {kind: {"kind": kind} for kind in ("number", "boolean", "datetime")}
    columns["words"] = {"kind": "category", "allowed": ["a"]}  # type: ignore[dict-item]
    config = table_config(columns=columns, data={"key": ["id"]})
    table = pa.table({**dict.fromkeys(columns, huge), "label": ["a", "b"] * 15})

    with pytest.raises(ContractError) as raised:
        report_of(config, table.append_column("id", pa.array([huge[0]] * 30)))

    assert len(raised.value.violations) == 5
    assert len(str(raised.value)) < 2500


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["red", "blue", "gold", None]),
        st.sampled_from(["1", "2.5", "-3", "-0.0", "?", "y" * 200, "inf", "", None]),
        st.sampled_from(["a", "b"]),
        st.sampled_from(["0", "1", "2", "3", "4", None]),
    ),
    min_size=3,
    max_size=25,
)


@given(
    ROWS,
    st.integers(1, 9),
    st.sampled_from(SEVERITIES),
    st.sampled_from(SEVERITIES),
    st.sampled_from([0, 5, 1000]),
)
def test_what_is_said_does_not_depend_on_where_batches_end(
    table_config: MakeConfig,
    rows: list[tuple[str | None, ...]],
    n_rows: int,
    severity: str,
    unique_key: str,
    max_rows: int,
) -> None:
    expression = {"kind": "expression", "name": "calm", "expression": "size > -1 OR color='red'"}
    config = table_config(
        data={"key": ["id"]},
        columns={
            "color": {"kind": "category", "allowed": ["red", "blue"], "severity": severity},
            "size": {"kind": "number", "minimum": 0, "severity": severity},
        },
        validation={
            "min_rows": 3,
            "unique_key": unique_key,
            "rules": [{**expression, "severity": severity}],
            "quarantine": {"max_rows": max_rows, "max_percent": 100},
        },
    )
    names = ["color", "size", "label", "id"]
    columns = [pa.array(values, pa.string()) for values in zip(*rows, strict=True)]
    table = pa.table(columns, names=names)

    def said(size: int) -> object:
        try:
            report = report_of(config, table, size)
        except DataError as error:
            return str(error)
        return report.to_json(), report.quarantined_rows.tolist(), report.quarantined_rules

    assert said(n_rows) == said(1000)
