"""The rules of `validation.rules`, whole rows at a time: SQL expressions and Python functions."""

import importlib
import sys
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import assert_never

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.config.columns import Severity
from pipeline_lib.config.validation import ExpressionRule, FunctionRule, Rule
from pipeline_lib.data.contract.expressions import Database, Expression
from pipeline_lib.data.values.violations import BrokenRows, ExampleRow, positions
from pipeline_lib.errors import ConfigError, RuleError
from pipeline_lib.interruption import heard
from pipeline_lib.wording import MAX_EXAMPLES, did_you_mean, first_line

RowFunction = Callable[[pa.Table], object]
_MAX_CHARACTERS = 100
_PACKAGE = "rules"
# `sys.exit()` of a rule, as of a script that is imported, would end all runs with code 0.
_FAILS = (Exception, SystemExit)


@dataclass(frozen=True)
class RowRule:
    """A rule that looks at whole typed rows; `kept` returns whether each keeps the rule.

    `place` is where the config has the rule, if that is known.
    """

    name: str
    severity: Severity
    quoted: str
    columns: tuple[str, ...]
    kept: Callable[[pa.Table], pa.ChunkedArray]
    place: str = ""

    def broken_rows(self, typed: pa.Table, *, first_row: int) -> list[BrokenRows]:
        """Return the rows that break the rule; null counts as kept.

        Args:
            typed: a batch with declared types.
            first_row: the position of its first row in the stream, from 0.

        Raises:
            RuleError: the rule fails, or a function returns something else.
        """
        if not typed.num_rows:
            return []
        try:
            rows = positions(pc.invert(self.kept(typed)))
        except RuleError as error:
            raise error.at(self.place) from error.__cause__
        if not len(rows):
            return []
        few = typed.select(self.columns).take(pa.array(rows[: MAX_EXAMPLES + 1]))
        shown = example_rows(few, rows + first_row)
        return [BrokenRows(self.name, rows, shown, f"break {self.quoted}, such as ")]


def example_rows(table: pa.Table, rows: npt.NDArray[np.int64]) -> tuple[ExampleRow, ...]:
    """Return the first few rows of a table with their values; `rows` are their positions."""
    found: list[ExampleRow] = []
    for here, row in enumerate(rows[: MAX_EXAMPLES + 1].tolist()):
        values = ((name, table[name][here].as_py()) for name in table.column_names)
        found.append(ExampleRow(row + 1, tuple((name, _shown(value)) for name, value in values)))
    return tuple(found)


def _shown(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return value[:_MAX_CHARACTERS] if isinstance(value, str) else value


def compile_rules(
    rules: Sequence[Rule],
    schema: pa.Schema,
    *,
    root: Path,
    hidden: Collection[str] = frozenset(),
    place: Callable[[Sequence[str | int]], str] | None = None,
) -> tuple[RowRule, ...]:
    """Make rules ready to be asked.

    Args:
        rules: as the config has them.
        schema: of the typed rows.
        root: the project's folder, where functions are looked for.
        hidden: columns whose values no message quotes, an error of a rule included.
        place: where the config's file has nested keys.

    Raises:
        RuleError: an expression or a function is wrong.
        ConfigError: several are; each is named.
    """
    database = Database() if any(isinstance(rule, ExpressionRule) for rule in rules) else None
    compiled: list[RowRule] = []
    errors: list[RuleError] = []
    for number, rule in enumerate(rules):
        where = place(["validation", "rules", number]) if place else ""
        try:
            compiled.append(_compiled(rule, schema, database, root, hidden, where))
        except RuleError as error:
            errors.append(error.at(where))
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ConfigError([problem for error in errors for problem in error.problems])
    return tuple(compiled)


def _compiled(
    rule: Rule,
    schema: pa.Schema,
    database: Database | None,
    root: Path,
    hidden: Collection[str],
    place: str,
) -> RowRule:
    match rule:
        case ExpressionRule():
            assert database is not None
            asked = Expression(rule, schema, database, hidden=hidden)
            columns, quoted, kept = tuple(asked.columns), asked.quoted, asked.kept
        case FunctionRule():
            columns, quoted = (), f"`{rule.function}`"
            kept = _asking(rule, root, is_shown=not hidden)
        case _:
            assert_never(rule)
    return RowRule(rule.name, rule.severity, quoted, columns, kept, place)


def _asking(
    rule: FunctionRule, root: Path, *, is_shown: bool
) -> Callable[[pa.Table], pa.ChunkedArray]:
    function = _load(rule, root)

    def kept(typed: pa.Table) -> pa.ChunkedArray:
        try:
            answer = function(typed)
        except _FAILS as error:
            _raise_if_asked(error)
            if not is_shown:  # its text, and the traceback of its cause, may quote a value
                raise RuleError(
                    rule.name, f"`{rule.function}` fails with {type(error).__name__}"
                ) from None
            text = f"{type(error).__name__}: {first_line(error)[:200]}"
            raise RuleError(rule.name, f"`{rule.function}` fails: {text}") from error
        return _as_booleans(answer, rule, typed.num_rows)

    return kept


def _raise_if_asked(error: BaseException) -> None:
    """Raise the exit again that a signal asked for."""
    if isinstance(error, SystemExit) and heard() is not None:
        raise error


def _as_booleans(answer: object, rule: FunctionRule, n_rows: int) -> pa.ChunkedArray:
    wanted = f"wanted is one boolean for each of the {n_rows} rows of the batch"
    found: pa.ChunkedArray | None = None
    if isinstance(answer, pa.ChunkedArray):
        found = answer
    elif not isinstance(answer, str | bytes | dict | set):
        try:
            flags = answer if isinstance(answer, pa.Array) else pa.array(answer, from_pandas=True)
            found = pa.chunked_array([flags])
        except (pa.ArrowException, TypeError, ValueError):
            found = None
    if found is not None and pa.types.is_null(found.type):
        found = found.cast(pa.bool_())
    if found is None or not pa.types.is_boolean(found.type):
        kind = f" of {found.type}" if found is not None else ""
        text = f"returns {type(answer).__name__}{kind}; {wanted}"
        raise RuleError(rule.name, f"`{rule.function}` {text}")
    if len(found) != n_rows:
        raise RuleError(rule.name, f"`{rule.function}` returns {len(found)} values; {wanted}")
    return found


def _load(rule: FunctionRule, root: Path) -> RowFunction:
    name, _, attribute = rule.function.partition(":")
    folder = str(root.resolve())
    _refuse_strange_module(rule, name, folder)
    try:
        with _from_project(folder, name.partition(".")[0]):
            module = importlib.import_module(name)
    except _FAILS as error:
        _raise_if_asked(error)
        text = f"{type(error).__name__}: {first_line(error)[:200]}"
        raise RuleError(rule.name, f"module {name!r} cannot be imported: {text}") from error
    function = getattr(module, attribute, None)
    if not callable(function):
        known = [each for each, value in vars(module).items() if callable(value)]
        absent = "is not a function" if hasattr(module, attribute) else "is not there"
        near = did_you_mean(attribute, known)
        raise RuleError(rule.name, f"{attribute!r} {absent} in module {name!r}{near}")
    return function


def _refuse_strange_module(rule: FunctionRule, name: str, folder: str) -> None:
    """Refuse modules that are none of the project's own for rules.

    These are `NAME.py` in its folder and the package `rules`, with an `__init__.py` in each folder
    of it: any other folder, as `configs`, is full of what was never meant to be run.
    """
    how = f"a rule is a function of a module NAME.py in {folder}, or of the package `rules` there"
    first, *inner = name.split(".")
    if first in sys.stdlib_module_names or first == "__main__":
        raise RuleError(rule.name, f"{first!r} is a module of Python itself; {how}")
    if inner and first != _PACKAGE:
        raise RuleError(rule.name, f"{name!r} lies in a package {first!r}; {how}")
    places: Sequence[str] = [folder]
    for depth, part in enumerate((first, *inner), start=1):
        found = PathFinder.find_spec(part, places)
        module = ".".join((first, *inner)[:depth])
        if found is None:
            raise RuleError(rule.name, f"module {module!r} cannot be imported: not found; {how}")
        if found.loader is None or found.origin is None:
            raise RuleError(rule.name, f"{module!r} is a folder without an __init__.py; {how}")
        if found.submodule_search_locations is not None and first != _PACKAGE:
            raise RuleError(rule.name, f"{module!r} is a package; {how}")
        places = found.submodule_search_locations or []


class _ProjectFinder:
    """Finds one module or package in the project's folder, whatever has its name elsewhere."""

    def __init__(self, folder: str, name: str) -> None:
        self._folder, self._name = folder, name

    def find_spec(
        self, name: str, _: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answer the import system."""
        return PathFinder.find_spec(name, [self._folder], target) if name == self._name else None


@contextmanager
def _from_project(folder: str, name: str) -> Generator[None]:
    """Import a module of the project's folder, and leave `sys.path` as it was.

    What it imports itself is looked for in the folder last: no file there stands in for a module
    of Python or of a library. A module of the same name from elsewhere, as another project's
    `rules`, is set aside and put back: one worker may serve several projects.
    """
    aside: dict[str, ModuleType] = {}
    if not _is_own(name, folder):
        names = [each for each in sys.modules if each.partition(".")[0] == name]
        aside = {each: sys.modules.pop(each) for each in names}
    before, finder = list(sys.path), _ProjectFinder(folder, name)
    sys.path[:] = [*(each for each in before if each not in ("", folder)), folder]
    sys.meta_path.insert(0, finder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before
        sys.meta_path.remove(finder)
        if aside:
            for each in [each for each in sys.modules if each.partition(".")[0] == name]:
                del sys.modules[each]
            sys.modules.update(aside)


def _is_own(name: str, folder: str) -> bool:
    """Report whether an imported module is the folder's own, or whether none is imported."""
    module = sys.modules.get(name)
    found = PathFinder.find_spec(name, [folder])
    return module is None or (found is not None and module.__file__ == found.origin)
