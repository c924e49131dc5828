"""What stands in the columns of a table that has no config yet."""

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.data.arrow import is_number
from pipeline_lib.data.values.patterns import DAY, NUMBER, SPACED_WHOLE
from pipeline_lib.data.values.written import written

Floats = npt.NDArray[np.float64]

MAX_EXACT = 2**53
IS_NUMBER = f"^{NUMBER}$"
# No category is called so.
_CLEAR = ("?", "N/A", "n/a", "#N/A", "NULL", "null", "NaN", "nan", "NAN", "\\N", "-", "--")
# Namibia, a person without relatives: these count only beside numbers or dates.
_UNCLEAR = ("NA", "None", "none", ".")
_ISO = rf"^{DAY}([ T].*)?$"


@dataclass(frozen=True)
class TidyTable:
    """A table as the source would give it with `trim` and `null_words`.

    `where` has the columns that each null word stands in.
    """

    table: pa.Table
    trim: bool
    null_words: tuple[str, ...]
    where: dict[str, tuple[str, ...]]


def tidied(table: pa.Table, target: str) -> TidyTable:
    """Find blanks around values, and words for no value, in a table of text.

    A word that could be a class of the target is none of them. In quotes a word means that nothing
    is there only with `trim`, and an empty one stands in quotes; of others it is not known.
    """
    trimmed = pa.table(
        [pc.utf8_trim_whitespace(column) for column in table.columns],
        names=[name.strip() for name in table.column_names],
    )
    has_blanks = trimmed.column_names != table.column_names or not trimmed.equals(table)
    trim = has_blanks or any(pc.any(pc.equal(column, "")).as_py() for column in table.columns)
    if has_blanks:
        table = trimmed
    where: dict[str, list[str]] = {}
    for name in table.column_names:
        for word in _null_words(pc.unique(table[name]), is_target=name == target):
            where.setdefault(word, []).append(name)
    if target in table.column_names:
        classes = set(pc.unique(table[target]).to_pylist())
        where = {w: names for w, names in where.items() if w in _CLEAR or w not in classes}
    nulls = pa.array(["", *where], pa.string())
    cleared = pa.table(
        {
            name: pc.if_else(
                pc.is_in(table[name], value_set=nulls), pa.scalar(None, pa.string()), table[name]
            )
            for name in table.column_names
        }
    )
    return TidyTable(
        cleared, trim or bool(where), tuple(where), {w: tuple(n) for w, n in where.items()}
    )


def _null_words(words: pa.Array, *, is_target: bool) -> list[str]:
    present = set(
        words.filter(pc.is_in(words, value_set=pa.array([*_CLEAR, *_UNCLEAR]))).to_pylist()
    )
    if not present:
        return []
    # "" is null by default, whatever else is.
    others = words.filter(pc.invert(pc.is_in(words, value_set=pa.array([*present, "", None]))))
    clear = [word for word in _CLEAR if word in present]
    if is_target or len(others) == 0:
        return clear
    plain = pc.or_(
        pc.match_substring_regex(pc.utf8_trim_whitespace(others), IS_NUMBER),
        pc.match_substring_regex(others, _ISO),
    )
    is_unclear_null = bool(pc.all(plain).as_py())
    return clear + [w for w in _UNCLEAR if w in present and is_unclear_null]


@dataclass(frozen=True, eq=False)
class ColumnFacts:
    """A column, without the values that stand for none."""

    name: str
    values: pa.ChunkedArray

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return len(self.values)

    @property
    def n_known(self) -> int:
        """How many rows have a value."""
        return self.n_rows - self.values.null_count

    @property
    def is_text(self) -> bool:
        """Whether it is a column of words."""
        return pa.types.is_string(self.values.type)

    @cached_property
    def counted(self) -> tuple[pa.Array, npt.NDArray[np.int64]]:
        """The different values, and how many rows have each."""
        table = self.values.drop_null().value_counts()
        return table.field("values"), table.field("counts").to_numpy(zero_copy_only=False)

    @property
    def n_different(self) -> int:
        """How many different values there are."""
        return len(self.counted[0])

    @cached_property
    def words(self) -> pa.Array:
        """The different values as the words that a category would have."""
        values = self.counted[0]
        if not self.is_text and self.is_whole:
            values = written(pa.chunked_array([values]))[0].combine_chunks()
        return values if pa.types.is_string(values.type) else values.cast(pa.string())

    @cached_property
    def different_numbers(self) -> Floats | None:
        """The different values as numbers, if each is a finite one."""
        values = self.counted[0]
        kind = values.type
        if pa.types.is_string(kind):
            values = pc.utf8_trim_whitespace(values)
            if not pc.all(pc.match_substring_regex(values, IS_NUMBER)).as_py():
                return None
        elif not is_number(kind):
            return None
        numbers = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return numbers if len(numbers) and np.isfinite(numbers).all() else None

    @cached_property
    def numbers(self) -> Floats | None:
        """A number per row, NaN without a value, if every value is a finite number."""
        if self.different_numbers is None:
            return None
        values = pc.utf8_trim_whitespace(self.values) if self.is_text else self.values
        return values.cast(pa.float64(), safe=False).to_numpy().astype(np.float64)

    @cached_property
    def is_whole(self) -> bool:
        """Whether all numbers are whole, and text writes them without a point."""
        numbers = self.different_numbers
        if numbers is None or not bool((numbers == np.floor(numbers)).all()):
            return False
        if pa.types.is_floating(self.values.type):
            return bool(np.abs(numbers).max() < MAX_EXACT)
        return not self.is_text or self.all_match(SPACED_WHOLE)

    @cached_property
    def is_beyond_floats(self) -> bool:
        """Whether some whole numbers are too large for a float to hold exactly."""
        numbers = self.different_numbers
        if numbers is None or pa.types.is_floating(self.values.type):
            return False
        large = self.counted[0].filter(pa.array(np.abs(numbers) >= MAX_EXACT))
        if not self.is_text:
            return len(large) > 0
        return bool(pc.any(pc.match_substring_regex(large, SPACED_WHOLE)).as_py())

    @property
    def is_unique(self) -> bool:
        """Whether every row has a value of its own."""
        return self.n_different == self.n_rows

    def all_match(self, pattern: str) -> bool:
        """Report whether every different value matches a pattern."""
        values = self.counted[0]
        return self.is_text and bool(pc.all(pc.match_substring_regex(values, pattern)).as_py())

    def share_matching(self, pattern: str) -> float:
        """Return the share of rows, of those with a value, whose text matches a pattern."""
        values, counts = self.counted
        matched = pc.match_substring_regex(values, pattern).to_numpy(zero_copy_only=False)
        return float(counts[matched].sum() / counts.sum())

    def few(self, n: int = 3) -> list[object]:
        """Return a few different values, the most frequent first."""
        values, counts = self.counted
        order = np.argsort(-counts, kind="stable")[:n]
        return values.take(pa.array(order)).to_pylist()

    def has_name_part(self, parts: frozenset[str]) -> bool:
        """Report whether one of the words that the name is made of is among `parts`."""
        spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", self.name)
        return not parts.isdisjoint(re.split(r"[^a-z0-9%]+", spaced.casefold()))


def facts_of(table: pa.Table) -> list[ColumnFacts]:
    """Return the facts of every column; NaN is no value, wide and encoded text is text."""
    found: list[ColumnFacts] = []
    for name, values in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)  # noqa: PLW2901
        if pa.types.is_large_string(values.type) or pa.types.is_null(values.type):
            values = values.cast(pa.string())  # noqa: PLW2901
        if pa.types.is_floating(values.type):
            values = values.cast(pa.float64())  # noqa: PLW2901
            nothing = pa.scalar(None, values.type)
            values = pc.if_else(pc.is_nan(values), nothing, values)  # noqa: PLW2901
        found.append(ColumnFacts(name, values))
    return found
