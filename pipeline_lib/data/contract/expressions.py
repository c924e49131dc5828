"""Rules written as SQL, asked by DuckDB: one boolean per row, from that row alone.

An expression is text from a config, so it is parsed before it is run and only what says the same
of the same row, whatever the other rows, the run and the machine are, is let through: columns,
constants, operators and functions without side effects. The database behind it is empty, cannot
reach files or extensions, its settings are locked, and the process that it lives in is ended when
a rule takes too much time or memory.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any, cast

import pyarrow as pa

from pipeline_lib.config.validation import ExpressionRule
from pipeline_lib.data.contract.expression_client import ExpressionProcess, SqlError, TooCostlyError
from pipeline_lib.errors import RuleError
from pipeline_lib.wording import did_you_mean, examples, first_line

_MAX_QUOTE = 200
_QUOTES = 'names with blanks or other odd characters stand in double quotes: "unit price"'
_CHEAPER = "write it more cheaply, or bound the texts that it looks at, as left(name, 100)"
_TOO_DEEP = "is nested too deeply; write it as several rules"
_REFUSED = {
    "SUBQUERY": "a query inside",
    "WINDOW": "a window over other rows",
    "STAR": "a star for many columns",
    "PARAMETER": "a parameter",
    "POSITIONAL_REFERENCE": "a reference by position",
    "DEFAULT": "a default",
    "LAMBDA": "a lambda",
}
# DuckDB defines these by other functions and does not list their stability.
_PLAIN_MACROS = {"date_add", "days_in_month", "fdiv", "fmod", "if", "nullif", "split_part"}
# DuckDB 2.0 calls these consistent, and they read the clock or the version.
_UNSTEADY = {"age", "current_localtime", "current_localtimestamp", "version"}


_PROCESS = ExpressionProcess()


class Database:
    """A DuckDB that can compute, for a while and with some memory, and nothing else."""

    def __init__(self) -> None:
        listed, _ = _PROCESS.ask("functions")
        functions = cast("list[tuple[str, bool]]", listed)
        self.known_functions = {name for name, _ in functions}
        steady = {name for name, is_steady in functions if is_steady}
        self.functions = (steady | _PLAIN_MACROS) - _UNSTEADY

    def parse(self, expression: str) -> "dict[str, Any]":
        """Return the syntax tree of the text as the one value of a SELECT, as JSON has it."""
        text, _ = _PROCESS.ask("parse", expression)
        return cast("dict[str, Any]", json.loads(str(text)))

    def evaluate(self, expression: str, table: pa.Table) -> pa.ChunkedArray:
        """Return the value of an expression that was checked, for each row in its order."""
        _, answer = _PROCESS.ask("evaluate", expression, table)
        assert answer is not None
        return answer["kept"]

    def bind_as_condition(self, expression: str, table: pa.Table) -> None:
        """Let DuckDB refuse what cannot be asked of one row, as CHECK and WHERE cannot."""
        _PROCESS.ask("condition", expression, table)


class Expression:
    """One rule's expression, checked against the columns there are."""

    def __init__(
        self,
        rule: ExpressionRule,
        schema: pa.Schema,
        database: Database,
        *,
        hidden: Collection[str] = frozenset(),
    ) -> None:
        """Parse and bind the rule; no message quotes a value of a hidden column.

        Raises:
            RuleError: it is not a valid SQL expression, names a column that is not there, is not
                boolean, looks at more than one row, is nested too deeply, or costs too much.
        """
        self._rule, self._schema, self._database = rule, schema, database
        self._hidden = frozenset(hidden)
        try:
            nodes = list(_nodes(self._select_list()))
            self._refuse_shapes(nodes)
            self._refuse_unsteady(nodes)
            self.columns = self._used_columns(nodes)
            empty = schema.empty_table().select(self.columns)
            database.bind_as_condition(rule.expression, empty)
            kind = database.evaluate(rule.expression, empty).type
        except SqlError as error:
            raise self._error(f"is not valid SQL: {_cut(first_line(error))}") from None
        except TooCostlyError as error:
            raise self._error(f"{error}: {_CHEAPER}", with_columns=False) from None
        except RecursionError:
            raise self._error(_TOO_DEEP, with_columns=False) from None
        if not pa.types.is_boolean(kind):
            raise self._error(f"comes to {kind}, not to true or false")

    @property
    def quoted(self) -> str:
        """The expression as messages show it."""
        return f"`{_cut(self._rule.expression)}`"

    def kept(self, table: pa.Table) -> pa.ChunkedArray:
        """Return whether each row keeps the rule; null where SQL gives null.

        Raises:
            RuleError: it cannot be computed for some row, as a cast of text that is no number, or
                takes too much time or memory.
        """
        try:
            return self._database.evaluate(self._rule.expression, table.select(self.columns))
        except TooCostlyError as error:
            raise self._error(f"{error}: {_CHEAPER}", with_columns=False) from None
        except SqlError as error:
            is_shown = self._hidden.isdisjoint(self.columns)
            problem = _cut(first_line(error)) if is_shown else error.kind
            raise self._error(
                f"fails on this run's rows: {problem}. `try_cast(… AS …)` and `try(…)` give null "
                "instead, which counts as kept",
                with_columns=False,
            ) from None

    def _select_list(self) -> list[object]:
        """Return the syntax tree of the expression: one value, from nowhere, under no condition."""
        tree = self._database.parse(self._rule.expression)
        if tree["error"] and "expression depth" in str(tree.get("error_message")):
            raise self._error(_TOO_DEEP, with_columns=False)
        if tree["error"]:
            raise self._error(
                f"is not a valid SQL expression: {_cut(str(tree.get('error_message')))}"
            )
        statements = tree["statements"]
        node = statements[0]["node"] if len(statements) == 1 else {}
        # What closed our bracket and opened another is a whole query, not a value.
        clauses = ("where_clause", "group_expressions", "having", "qualify", "sample", "modifiers")
        values = node.get("select_list", [])
        is_one_value = (
            node.get("type") == "SELECT_NODE"
            and len(values) == 1
            and node["from_table"]["type"] == "EMPTY"
            and not any(node.get(clause) for clause in clauses)
        )
        if not is_one_value:
            raise self._error("is more than one SQL expression")
        return values

    def _refuse_shapes(self, nodes: "Sequence[dict[str, Any]]") -> None:
        for node in nodes:
            if (kind := str(node["class"])) in _REFUSED:
                raise self._error(f"has {_REFUSED[kind]}; a rule is a boolean per row, from it")

    def _used_columns(self, nodes: "Sequence[dict[str, Any]]") -> list[str]:
        names = [node["column_names"] for node in nodes if node["class"] == "COLUMN_REF"]
        used = list(dict.fromkeys(self._column(parts) for parts in names))
        if not used:
            raise self._error("names no column, so it is the same for every row")
        if len({name.casefold() for name in used}) < len(used):
            raise self._error(f"names columns that are the same to SQL: {examples(used)}")
        return used

    def _column(self, parts: Sequence[str]) -> str:
        """Return the column of a name; like SQL, in any case unless two differ by it alone."""
        written = ".".join(parts)
        names: list[str] = self._schema.names
        if len(parts) == 1 and written in names:
            return written
        same = [name for name in names if name.casefold() == written.casefold()]
        if len(parts) == 1 and len(same) == 1:
            return same[0]
        raise self._error(
            f"names {examples([written])}, which is not a column{did_you_mean(written, names)}"
        )

    def _refuse_unsteady(self, nodes: "Sequence[dict[str, Any]]") -> None:
        """Refuse functions of many rows, of the clock, of chance, and of the machine."""
        for node in nodes:
            name = str(node.get("function_name", "")).lower()
            if node["class"] == "FUNCTION" and name not in self._database.functions:
                if name in self._database.known_functions:
                    reason = "which is not allowed: a rule gives a row the same result in every run"
                else:
                    near = did_you_mean(name, self._database.functions)
                    reason = f"which SQL has not{near}"
                raise self._error(f"calls {examples([name])}, {reason}")

    def _error(self, problem: str, *, with_columns: bool = True) -> RuleError:
        stop = "" if problem.endswith("?") else "."
        columns = f"{stop} Columns: {examples(self._schema.names)}; {_QUOTES}"
        message = f"{self.quoted} {problem}{columns if with_columns else ''}"
        return RuleError(self._rule.name, message)


def _nodes(tree: object) -> "Iterator[dict[str, Any]]":
    """Yield every expression of a syntax tree, in the order of the text."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            branch = cast("dict[str, Any]", node)
            if "class" in branch:
                yield branch
            waiting += reversed(list(branch.values()))
        elif isinstance(node, list):
            waiting += reversed(cast("list[object]", node))


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MAX_QUOTE else f"{text[:_MAX_QUOTE]}…"
