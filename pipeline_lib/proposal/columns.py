"""What part a column could play: a kind of feature, or none, each with the reason."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.config.columns import (
    BooleanColumn,
    CategoryColumn,
    Column,
    DatetimeColumn,
    HashColumn,
    NumberColumn,
    RobustScaling,
    Scaling,
    StandardScaling,
)
from pipeline_lib.data.arrow import is_date_or_time, is_number
from pipeline_lib.data.values.patterns import SPACED_WHOLE
from pipeline_lib.proposal.closed_words import MAX_CLOSED, is_closed, ordered
from pipeline_lib.proposal.column_facts import IS_NUMBER, ColumnFacts, Floats
from pipeline_lib.proposal.date_formats import DateFormat, find_date_format, share_of_dates
from pipeline_lib.wording import examples

Part = Literal["feature", "id", "counter", "constant", "empty", "text", "unreadable", "leak"]

NEARLY_ALL = 0.98
_LEAST_ROWS = 20
_MAX_CODES = 32
_MAX_FEW = 12
_RARE_FROM = 1_000
_HASH_FROM = 50_000
ID_NAMES = frozenset({"id", "ids", "uuid", "guid", "key", "pk", "identifier"})
_CODE_NAMES = ID_NAMES | {
    *("code", "zip", "zipcode", "postcode", "postal", "plz", "phone", "iban", "ean", "isbn", "sku")
}
# May be below zero though no row looked at is.
_SIGNED_NAMES = frozenset(
    {
        *("temp", "temperature", "atemp", "lat", "latitude", "lon", "lng", "longitude", "balance"),
        *(
            "profit",
            "margin",
            "change",
            "diff",
            "difference",
            "delta",
            "growth",
            "return",
            "offset",
        ),
        *("score", "net", "altitude", "elevation", "x", "y", "z"),
        # Money flows both ways: a refund, a correction.
        *("amount", "amounts", "amt", "revenue", "sales", "earnings", "payment", "payments"),
        *("cash", "flow", "gain", "loss", "result", "total", "credit", "debit", "correction"),
    }
)
_PERCENT_NAMES = frozenset({"percent", "percentage", "pct", "perc", "%"})
_YES = frozenset({"true", "t", "yes", "y", "1"})
_NO = frozenset({"false", "f", "no", "n", "0"})
_WRITTEN_NUMBERS = {
    "percent signs": r"^[+-]?\d+([.,]\d+)?\s*%$",
    "currency signs": r"^[-+(]?\s*([$€£¥₹]\s*[-+]?[\d.,]+|[\d.,]+\s*([$€£¥₹]|EUR|USD|GBP))\)?$",
    "thousands separators": r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$",
    "decimal commas": r"^[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+$",
}


@dataclass(frozen=True)
class ProposedColumn:
    """What a column could be.

    Attributes:
        column: its settings, also of one that is left out: they hold if a person takes it in. None
            if it cannot be read.
        part: "feature", or why it is left out in one word.
        reason: what was seen, for the line's comment.
        note: what a person should look at.
        is_unique: whether every row has a value of its own.
        dates: how it writes dates, if it does.
    """

    name: str
    column: Column | None
    part: Part
    reason: str
    note: str | None = None
    is_unique: bool = False
    dates: DateFormat | None = None

    @property
    def is_feature(self) -> bool:
        """Whether it is proposed as a feature."""
        return self.part == "feature"

    def left_out(self, part: Part, reason: str) -> "ProposedColumn":
        """Return the same column as no feature."""
        return replace(self, part=part, reason=reason)


def propose_column(facts: ColumnFacts) -> ProposedColumn:
    """Propose what part a column plays; the first way of reading it that fits."""
    ways: tuple[Callable[[ColumnFacts], ProposedColumn | None], ...] = (
        _unreadable,
        _useless,
        _yes_or_no,
        _dates,
        _number,
        _number_in_words,
        _text,
    )
    found = next(found for way in ways if (found := way(facts)) is not None)
    n_null = facts.n_rows - facts.n_known
    if found.column is None or n_null == 0:
        return found
    seen = "" if found.part == "empty" else f", {_rows(n_null)} without a value"
    column = found.column.model_copy(update={"nullable": True})
    return replace(found, column=column, reason=found.reason + seen)


def words_column(facts: ColumnFacts, *, say: str = "") -> ProposedColumn:
    """Propose a column of words, by how many different ones there are."""
    n, seen = facts.n_different, f"{facts.n_different:,} different values"
    counts = facts.counted[1]
    reason = f"{say}{seen}" if say else seen
    column: Column = CategoryColumn()
    if n > _HASH_FROM:
        buckets = 2 ** min(18, max(12, math.ceil(math.log2(n)) - 2))
        column = HashColumn(n_buckets=buckets)
        reason += f": too many for a vocabulary, so their hashes share {buckets:,} codes"
    elif n > _RARE_FROM:
        column = CategoryColumn(min_count=5)
        rare = int((counts < 5).sum())
        reason += f", {rare:,} of them in fewer than 5 rows, which share one code"
    elif n <= _MAX_FEW and counts.min() >= max(_LEAST_ROWS, 0.001 * facts.n_known):
        reason = f"{say}{n} values, each in {_rows(int(counts.min()))} or more"
    if n <= MAX_CLOSED and is_closed(words := sorted_words(facts)):
        order = ordered(words) or None
        column = CategoryColumn(allowed=tuple(words), order=order)
        ranked = ", and models see ranks too" if order else ""
        reason += f"; a whole scale, so another value is a mistake{ranked}"
    return ProposedColumn(facts.name, column, "feature", reason, is_unique=facts.is_unique)


def sorted_words(facts: ColumnFacts) -> list[str]:
    """Return the different words, numbers by size and others by alphabet."""
    words: list[str] = facts.words.to_pylist()
    numbers = facts.different_numbers
    if numbers is None:
        return sorted(words)
    return [word for _, word in sorted(zip(numbers.tolist(), words, strict=True))]


def written_numbers(facts: ColumnFacts) -> str | None:
    """Return what keeps a column of text from being numbers, as `percent signs`, if it is that."""
    if not facts.is_text:
        return None
    for what, pattern in _WRITTEN_NUMBERS.items():
        if facts.all_match(f"({IS_NUMBER})|({pattern})"):
            return what
    return None


def _unreadable(facts: ColumnFacts) -> ProposedColumn | None:
    kind = facts.values.type
    if pa.types.is_string(kind) or pa.types.is_boolean(kind):
        return None
    if is_number(kind) or is_date_or_time(kind):
        return None
    return ProposedColumn(facts.name, None, "unreadable", f"has the type {kind}, which is not read")


def _useless(facts: ColumnFacts) -> ProposedColumn | None:
    column = CategoryColumn()
    if facts.n_known == 0:
        return ProposedColumn(facts.name, column, "empty", "no value in any row")
    if facts.n_known < (1 - NEARLY_ALL) * facts.n_rows:
        reason = f"only {_rows(facts.n_known)} of {facts.n_rows:,} have a value"
        way = _dates(facts) or _number(facts)
        return replace(
            way or ProposedColumn(facts.name, column, "empty", ""), part="empty", reason=reason
        )
    if facts.n_different == 1 and facts.n_known == facts.n_rows:
        reason = f"always {examples(facts.words.to_pylist())}"
        column = NumberColumn() if _is_fraction(facts) else column
        return ProposedColumn(facts.name, column, "constant", reason)
    return None


def _is_fraction(facts: ColumnFacts) -> bool:
    return facts.different_numbers is not None and not facts.is_whole


def _yes_or_no(facts: ColumnFacts) -> ProposedColumn | None:
    if facts.n_different != 2:
        return None
    low, high = sorted_words(facts)
    folded = {low.strip().casefold(), high.strip().casefold()}
    if not (folded & _YES and folded & _NO):
        return None
    counts = facts.counted[1].tolist()
    seen = ", ".join(
        f"{word!r} in {_rows(count)}"
        for word, count in zip(facts.words.to_pylist(), counts, strict=True)
    )
    return ProposedColumn(facts.name, BooleanColumn(), "feature", seen)


def _dates(facts: ColumnFacts) -> ProposedColumn | None:
    kind = facts.values.type
    note = None
    if is_date_or_time(kind):
        bounds = pc.min_max(facts.values.cast(pa.timestamp("us"), safe=False))
        first, last = bounds["min"].as_py(), bounds["max"].as_py()
        dates = DateFormat(None, None, first, last, pa.types.is_timestamp(kind))
    elif (found := find_date_format(facts)) is not None:
        dates = found
    else:
        return None
    if dates.other is not None:
        note = (
            f"{facts.name}: {dates.form} and {dates.other} both fit every date, so which number is "
            f"the month is a guess: {dates.form} stands in the config"
        )
    given: dict[str, object] = {} if dates.form is None else {"format": dates.form}
    if not dates.has_clock:
        given["parts"] = ("elapsed", "month", "weekday")
    written = "ISO 8601" if dates.form is None else dates.form
    reason = f"{dates.first:%Y-%m-%d} to {dates.last:%Y-%m-%d}, written as {written}"
    if dates.other is not None:
        reason += f" (or {dates.other}: look)"
    column = DatetimeColumn.model_validate(given)
    return ProposedColumn(
        facts.name, column, "feature", reason, note, is_unique=facts.is_unique, dates=dates
    )


def _number(facts: ColumnFacts) -> ProposedColumn | None:
    numbers = facts.different_numbers
    if numbers is None:
        return None
    if facts.is_beyond_floats:
        say = "whole numbers beyond 2^53, which a float does not hold exactly; "
        return _maybe_id(facts, words_column(facts, say=say))
    if facts.is_whole and (as_words := _digits_but_no_number(facts, numbers)) is not None:
        return as_words
    known = facts.numbers
    assert known is not None
    known = known[~np.isnan(known)]
    column = NumberColumn.model_validate(_bounds(facts, known) | _scaling(known))
    low, median, high = (shown_number(v) for v in np.quantile(known, (0, 0.5, 1)).tolist())
    reason = f"{low} to {high}, median {median}"
    if not isinstance(column.scaling, StandardScaling):
        reason += "; a few values lie far out, so it is scaled by quartiles"
    return ProposedColumn(facts.name, column, "feature", reason, is_unique=facts.is_unique)


def _digits_but_no_number(facts: ColumnFacts, numbers: Floats) -> ProposedColumn | None:
    """Propose ids, counters and codes, which are written with digits and count nothing."""
    if facts.all_match(SPACED_WHOLE) and facts.share_matching(r"^\s*0\d") > 0:
        padded = facts.counted[0].filter(pc.match_substring_regex(facts.counted[0], r"^\s*0\d"))
        say = f"leading zeros, as {examples(padded.slice(0, 1).to_pylist())}: a code, no number; "
        return _maybe_id(facts, words_column(facts, say=say))
    n_all, span = facts.n_different, float(numbers.max() - numbers.min()) + 1
    if facts.n_known >= _LEAST_ROWS and n_all >= NEARLY_ALL * facts.n_known:
        known = facts.numbers
        assert known is not None
        steps = np.diff(known)
        if np.isin(steps, (1.0, -1.0)).mean() >= NEARLY_ALL or span <= 1.05 * n_all:
            reason = f"counts the rows: {numbers.min():.0f} to {numbers.max():.0f}"
            column = NumberColumn()
            return ProposedColumn(facts.name, column, "counter", reason, is_unique=facts.is_unique)
    if facts.has_name_part(_CODE_NAMES):
        return _maybe_id(facts, words_column(facts, say="whole numbers that name something; "))
    if n_all <= _MAX_CODES and span <= 2 * n_all and facts.n_known >= 10 * n_all:
        seen = f"{n_all} whole numbers from {numbers.min():.0f} to {numbers.max():.0f}"
        words = words_column(facts)
        if n_all <= 2 or not isinstance(words.column, CategoryColumn):
            reason = f"{seen}: probably codes; set `kind: number` if they are amounts"
            return replace(words, reason=reason)
        reason = f"{seen}: codes or amounts, so models see both word and number"
        column = words.column.model_copy(update={"order": "numeric"})
        return replace(words, column=column, reason=reason)
    return None


def _maybe_id(facts: ColumnFacts, words: ProposedColumn) -> ProposedColumn:
    if facts.n_known < _LEAST_ROWS or facts.n_different < NEARLY_ALL * facts.n_known:
        return words
    reason = f"{facts.n_different:,} different values in {_rows(facts.n_known)}: it identifies rows"
    return words.left_out("id", reason)


def _bounds(facts: ColumnFacts, known: Floats) -> dict[str, object]:
    """Return limits that follow from what is measured, never the extremes that were seen.

    Zero is one if something must hold the values above it: were they normal, with this mean and
    deviation, ten or more of the rows would be below.
    """
    low, mean, spread = float(known.min()), float(known.mean()), float(known.std())
    if low < 0 or facts.has_name_part(_SIGNED_NAMES) or spread == 0:
        return {}
    if facts.has_name_part(_PERCENT_NAMES) and 1 < known.max() <= 100:
        return {"minimum": 0, "maximum": 100}
    below = len(known) * 0.5 * math.erfc(mean / spread / math.sqrt(2))
    return {"minimum": 0} if below >= 10 else {}


def _scaling(known: Floats) -> dict[str, Scaling]:
    """Return a scaling for heavy tails.

    With half of the values equal there are no quartiles to go by: such a column stays standard.
    """
    low, median, high = np.quantile(known, (0.25, 0.5, 0.75))
    if high <= low:
        return {}
    farthest = float(np.abs(known - median).max())
    return {"scaling": RobustScaling()} if farthest > 10 * (high - low) else {}


def _number_in_words(facts: ColumnFacts) -> ProposedColumn | None:
    """Propose text that a person reads as numbers, and the contract does not."""
    if not facts.is_text:
        return None
    words = words_column(facts)
    if what := written_numbers(facts):
        shown = facts.counted[0].filter(
            pc.invert(pc.match_substring_regex(facts.counted[0], IS_NUMBER))
        )
        reason = f"numbers with {what}, as {examples(shown.slice(0, 1).to_pylist())}"
        if facts.n_different <= _MAX_CODES:
            return replace(words, reason=f"{reason}: {words.reason}")
        return words.left_out("unreadable", f"{reason}: write them as plain numbers in the source")
    share = facts.share_matching(IS_NUMBER)
    if share < 0.5 or facts.n_different <= _MAX_CODES:
        return None
    odd = facts.counted[0].filter(pc.invert(pc.match_substring_regex(facts.counted[0], IS_NUMBER)))
    reason = (
        f"numbers in {share:.1%} of the rows, and words such as "
        f"{examples(odd.slice(0, 3).to_pylist())}: mend the source, or list words for no "
        "value in `null_values`"
    )
    return words.left_out("unreadable", reason)


def _text(facts: ColumnFacts) -> ProposedColumn | None:
    words = words_column(facts)
    if not facts.is_text:
        return words
    values, counts = facts.counted
    n_blanks = pc.count_substring(values, " ").to_numpy(zero_copy_only=False)
    per_value = float((n_blanks * counts).sum() / counts.sum()) + 1
    share = facts.n_different / facts.n_known
    if per_value >= 5 and facts.n_different > _RARE_FROM // 10 and share > 0.3:
        reason = (
            f"free text: {facts.n_different:,} different values of {per_value:.0f} words on "
            "average; text is not read"
        )
        return words.left_out("text", reason)
    if facts.n_different > _MAX_CODES and (dates := share_of_dates(facts)) > 0.5:
        reason = (
            f"dates in several formats, as {examples(_unlike(facts))}"
            if dates > 0.98
            else f"dates, and words that are none, as {examples(_unlike(facts))}"
        )
        return words.left_out("unreadable", f"{reason}: write them in one format in the source")
    return _maybe_id(facts, words)


def _unlike(facts: ColumnFacts) -> list[str]:
    """Return a value of each shape, digits and letters taken as alike; three at most."""
    values = facts.counted[0].slice(0, 10_000)
    shapes = pc.replace_substring_regex(values, pattern=r"\d+", replacement="0")
    by_shape: dict[str, str] = {}
    for shape, word in zip(shapes.to_pylist(), values.to_pylist(), strict=True):
        by_shape.setdefault(shape, word)
    return list(by_shape.values())[:3]


def shown_number(value: float) -> str:
    """Return a number as a person writes it."""
    return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:,.6g}"


def _rows(n: int) -> str:
    return f"{n:,} row" if n == 1 else f"{n:,} rows"
