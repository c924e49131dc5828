"""Rules over whole rows: what SQL and Python say of them, and what is refused unread."""

# ruff: noqa: DTZ001 - naive times are what the columns hold

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config.validation import ExpressionRule, FunctionRule
from pipeline_lib.data.contract.row_rules import RowRule, compile_rules
from pipeline_lib.errors import RuleError

TABLE = pa.table(
    {
        "price": pa.array([1.0, -2.0, None], pa.float64()),
        "color": pa.array(["red", "blue", None], pa.string()),
        "unit price": pa.array([1.0, 2.0, 3.0]),
        "seen": pa.array([datetime(2024, 1, day) for day in (1, 2, 3)], pa.timestamp("us")),
        "fine": pa.array([True, False, None]),
        "label": pa.array(["a", "b", "c"]),
    }
)
WriteRules = Callable[[str], Path]


@pytest.fixture
def project(tmp_path: Path) -> WriteRules:
    """Return a writer of a project's `house_rules.py`; gives the project's folder."""

    def write(text: str) -> Path:
        (tmp_path / "house_rules.py").write_text(text, "utf-8")
        return tmp_path

    return write


@pytest.fixture(autouse=True)
def modules_of_the_test() -> Any:
    yield
    sys.modules.pop("house_rules", None)


def _rule(expression: str, table: pa.Table = TABLE) -> RowRule:
    rule = ExpressionRule(name="fits", expression=expression)
    return compile_rules([rule], table.schema, root=Path())[0]


def _broken(expression: str, table: pa.Table = TABLE) -> list[int]:
    broken = _rule(expression, table).broken_rows(table, first_row=0)
    return [row for each in broken for row in each.rows.tolist()]


def _refused(expression: str) -> str:
    with pytest.raises(RuleError) as raised:
        _rule(expression)
    assert raised.value.rule == "fits"
    assert raised.value.exit_code == 2
    assert len(str(raised.value)) < 1000
    return str(raised.value)


def _function(root: Path, name: str = "house_rules:check") -> RowRule:
    return compile_rules([FunctionRule(name="house", function=name)], TABLE.schema, root=root)[0]


def _function_refused(root: Path, name: str = "house_rules:check") -> str:
    with pytest.raises(RuleError) as raised:
        _function(root, name).broken_rows(TABLE, first_row=0)
    return str(raised.value)


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        ("price > 0", [1]),
        ("PRICE > 0 AND color <> 'none'", [1]),
        ('"unit price" < 3', [2]),
        ("price IS NOT NULL", [2]),
        ("seen < '2024-01-03'", [2]),
        ("year(seen) = 2024", []),
        ("fine", [1]),
        ("color LIKE 'r%' OR label IN ('b', 'c')", []),
        ("try_cast(color AS INT) > 1", []),
        ("price > 0 -- as the shop says", [1]),
        ("CASE WHEN color = 'red' THEN price > 1 ELSE TRUE END", [0]),
    ],
)
def test_rows_for_which_an_expression_is_false_break_it_and_null_is_kept(
    expression: str, rows: list[int]
) -> None:
    assert _broken(expression) == rows


@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-3, 3).map(float), st.none() | st.sampled_from(["a", "b"])
        ),
        min_size=1,
    )
)
def test_nulls_mean_what_they_mean_in_a_check_of_sqlite(
    rows: list[tuple[float | None, str | None]],
) -> None:
    expression = "price > 0 OR color = 'a' AND NOT price = -1"
    database = sqlite3.connect(":memory:")
    database.execute(f"CREATE TABLE t (price REAL, color TEXT, CHECK ({expression}))")
    expected: list[int] = []
    for position, row in enumerate(rows):
        try:
            database.execute("INSERT INTO t VALUES (?, ?)", row)
        except sqlite3.IntegrityError:
            expected.append(position)
    prices, colors = zip(*rows, strict=True)
    table = pa.table(
        {"price": pa.array(prices, pa.float64()), "color": pa.array(colors, pa.string())}
    )

    assert _broken(expression, table) == expected


def test_rows_are_told_in_their_order_however_many_there_are() -> None:
    prices = np.random.default_rng(0).normal(size=300_000)
    chunks = [pa.array(part) for part in np.array_split(prices, 7)]

    rows = _broken("price > -2", pa.table({"price": pa.chunked_array(chunks)}))

    assert rows == np.flatnonzero(~(prices > -2)).tolist()


def test_a_broken_rule_shows_rows_by_number_with_the_values_it_looks_at() -> None:
    broken = _rule("price > 0 AND seen > '2020-01-01'").broken_rows(TABLE, first_row=100)

    assert repr(broken[0].shown[0]) == "row 102 (price=-2.0, seen='2024-01-02T00:00:00')"


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        (
            "prise > 0",
            "names 'prise', which is not a column; did you mean price? Columns: 'price', 'color'",
        ),
        ("unit price > 0", 'stand in double quotes: "unit price"'),
        ("TABLE_NAME.price > 0", "names 'TABLE_NAME.price', which is not a column"),
        ("rowid > 1", "names 'rowid', which is not a column"),
        ("price >", "is not a valid SQL expression: syntax error"),
        ("price + 1", "comes to double, not to true or false"),
        ("color > INTERVAL 1 DAY + color", "is not valid SQL: Binder Error"),
        ("1 = 1", "names no column"),
        (" ", "names no column"),
        ("lengthy(color) > 1", "calls 'lengthy', which SQL has not; did you mean length?"),
        ("sum(price) > 0", "calls 'sum', which is not allowed"),
        ("price > avg(price) OVER ()", "has a window over other rows"),
        ("price > (SELECT 1)", "has a query inside"),
        ("price IN (SELECT 1)", "has a query inside"),
        ("COLUMNS(*) > 0", "has a star"),
        ("price > ?", "has a parameter"),
        ("random() > price", "calls 'random', which is not allowed"),
        ("now() > seen", "calls 'now', which is not allowed"),
        ("age(seen) > INTERVAL 1 DAY", "calls 'age', which is not allowed"),
    ],
)
def test_what_says_nothing_of_one_row_is_refused_before_a_row_is_read(
    expression: str, told: str
) -> None:
    assert told in _refused(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "read_csv('/etc/passwd')",
        "price > (SELECT count(*) FROM read_csv('/etc/passwd'))",
        "read_text('/etc/passwd') = color",
        "COPY t TO '/tmp/evergreen.csv'",
        "price > 0; COPY (SELECT 1) TO '/tmp/evergreen.csv'",
        "ATTACH '/tmp/evergreen.db'",
        "getenv('HOME') = color",
        "current_setting('threads') = color",
        "PRAGMA version",
        "SET threads = 2",
        "INSTALL httpfs",
        "price > 0; DROP TABLE t",
        "price > 0) FROM evergreen_batch; DROP VIEW evergreen_batch; --",
        "price > 0) FROM evergreen_batch WHERE (TRUE",
        "price > 0) FROM evergreen_batch ORDER BY (1",
        "price > 0) UNION ALL (SELECT TRUE",
        "price > 0), (TRUE",
        "fine); (SELECT TRUE",
        "fine /*",
        "TABLE sys",
    ],
)
def test_an_expression_that_reaches_for_more_is_refused(expression: str) -> None:
    assert _refused(expression).startswith("rule 'fits': validation.rules: `")


def test_an_expression_cannot_name_what_python_holds() -> None:
    secret = pa.table({"x": [1]})

    assert "query inside" in _refused("price > (SELECT min(x) FROM secret)")
    assert secret.num_rows == 1


def test_a_column_that_differs_by_case_alone_is_meant_as_it_is_written() -> None:
    table = pa.table({"A": [1.0], "a": [-1.0]})

    assert _broken("A > 0", table) == []
    assert _broken("a > 0", table) == [0]


def test_an_expression_that_fails_on_a_row_is_told_with_the_rule_and_a_way_out() -> None:
    table = TABLE.set_column(1, "color", pa.array(["y" * 1_000_000] * 3))
    rule = _rule("CAST(color AS INT) > 1", table)

    with pytest.raises(RuleError, match=r"rule 'fits'.*fails on this run's rows.*try_cast") as told:
        rule.broken_rows(table, first_row=0)

    assert len(str(told.value)) < 1000


def test_an_error_that_is_held_to_the_end_of_a_process_leaves_nothing_to_complain_of() -> None:
    program = """
import ctypes, pyarrow as pa
from pathlib import Path
from pipeline_lib.config.validation import ExpressionRule
from pipeline_lib.data.contract.row_rules import compile_rules
try:
    compile_rules([ExpressionRule(name="r", expression="nope > 1")], pa.schema({"a": pa.int8()}),
                  root=Path())
except Exception as error:
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(error))
    print(error)
"""

    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )

    assert "'nope', which is not a column" in done.stdout
    assert done.stderr == ""


def test_rows_of_an_empty_batch_break_nothing() -> None:
    assert _rule("price > 0").broken_rows(TABLE.slice(0, 0), first_row=0) == []


@pytest.mark.parametrize(
    "answer",
    [
        "pc.greater(rows['price'], 0)",
        "pa.array([True, False, None])",
        "[True, False, None]",
        "np.array([True, False, True])",
        "pd.Series([True, False, None])",
    ],
)
def test_a_function_tells_of_each_row_whether_it_is_fine_and_null_is_kept(
    project: WriteRules, answer: str
) -> None:
    root = project(
        "import numpy as np, pandas as pd, pyarrow as pa, pyarrow.compute as pc\n"
        f"def check(rows):\n    return {answer}\n"
    )

    broken = _function(root).broken_rows(TABLE, first_row=10)

    assert [each.rows.tolist() for each in broken] == [[1]]
    assert repr(broken[0].shown[0]) == "row 12"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return [True]", "returns 1 values; wanted is one boolean for each of the 3 rows"),
        ("return [1, 0, 1]", "returns list of int64; wanted is one boolean"),
        ("return True", "returns bool; wanted is one boolean"),
        ("return None", "returns NoneType; wanted is one boolean"),
        ("return 'yes'", "returns str; wanted"),
        ("return rows", "returns Table; wanted"),
        ("return [True, 'no', 3]", "returns list; wanted"),
        ("return [[True]] * 3", "returns list of list"),
        ("raise KeyError('prise')", "`house_rules:check` fails: KeyError: 'prise'"),
        ("raise ValueError('x' * 10**6)", "fails: ValueError: xxx"),
        ("raise SystemExit(0)", "fails: SystemExit: 0"),
    ],
)
def test_a_function_that_returns_nonsense_is_told_with_rule_and_function(
    project: WriteRules, body: str, told: str
) -> None:
    message = _function_refused(project(f"def check(rows):\n    {body}\n"))

    assert message.startswith("rule 'house': validation.rules: `house_rules:check`")
    assert told in message
    assert len(message) < 500


@pytest.mark.parametrize(
    ("text", "name", "told"),
    [
        ("", "no_such_rules:check", "module 'no_such_rules' cannot be imported"),
        ("def check_it(rows): ...", "house_rules:check", "did you mean check_it?"),
        ("check = 1", "house_rules:check", "'check' is not a function in module 'house_rules'"),
        ("def check(rows:", "house_rules:check", "SyntaxError"),
        ("1 / 0", "house_rules:check", "ZeroDivisionError"),
        ("import sys; sys.exit()", "house_rules:check", "SystemExit"),
    ],
)
def test_a_function_that_is_not_there_is_told_before_a_row_is_read(
    project: WriteRules, text: str, name: str, told: str
) -> None:
    with pytest.raises(RuleError) as raised:
        _function(project(text), name)

    assert told in str(raised.value)


def test_the_projects_folder_is_last_on_the_path_and_during_the_import_alone(
    project: WriteRules,
) -> None:
    root = project("import sys\nSEEN = sys.path[-1]\ndef check(rows): return [SEEN == ROOT] * 3\n")
    text = (root / "house_rules.py").read_text("utf-8")
    (root / "house_rules.py").write_text(f"ROOT = {str(root)!r}\n{text}", "utf-8")
    before, finders = list(sys.path), list(sys.meta_path)

    broken = _function(root).broken_rows(TABLE, first_row=0)

    assert sys.path == before
    assert sys.meta_path == finders
    assert broken == []


def test_a_module_may_import_others_of_the_project(project: WriteRules) -> None:
    root = project("from house_answers import answer\ndef check(rows): return answer()\n")
    (root / "house_answers.py").write_text("def answer(): return [True, False, True]\n", "utf-8")

    broken = _function(root).broken_rows(TABLE, first_row=0)

    sys.modules.pop("house_answers")
    assert [each.rows.tolist() for each in broken] == [[1]]


@pytest.mark.parametrize("name", ["rules:check", "rules.prices:check", "rules.shop.prices:check"])
def test_rules_may_be_a_package(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "rules" / "shop"
    folder.mkdir(parents=True)
    (tmp_path / "rules" / "__init__.py").write_text("from rules.shop.prices import check\n")
    (tmp_path / "rules" / "prices.py").write_text("from .shop.prices import check\n")
    (folder / "__init__.py").write_text("")
    (folder / "prices.py").write_text("def check(rows): return [True, False, True]\n")

    broken = _function(tmp_path, name).broken_rows(TABLE, first_row=0)

    for module in [each for each in sys.modules if each.partition(".")[0] == "rules"]:
        del sys.modules[module]
    assert [each.rows.tolist() for each in broken] == [[1]]


def test_two_projects_may_call_their_module_alike(tmp_path: Path) -> None:
    answers = {"first": "[True] * 3", "second": "[False] * 3"}
    for name, answer in answers.items():
        (tmp_path / name).mkdir()
        text = f"def check(rows): return {answer}\n"
        (tmp_path / name / "house_rules.py").write_text(text, "utf-8")

    rules = {name: _function(tmp_path / name) for name in answers}

    n_broken = {name: len(rule.broken_rows(TABLE, first_row=0)) for name, rule in rules.items()}
    assert n_broken == {"first": 0, "second": 1}


def test_a_projects_module_hides_no_library_from_others(tmp_path: Path) -> None:
    import threadpoolctl

    (tmp_path / "threadpoolctl.py").write_text("def check(rows): return [True] * 3\n", "utf-8")

    rule = _function(tmp_path, "threadpoolctl:check")

    assert rule.broken_rows(TABLE, first_row=0) == []
    assert sys.modules["threadpoolctl"] is threadpoolctl
