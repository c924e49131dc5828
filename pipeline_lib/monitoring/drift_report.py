"""What a run's rows have in common with the champion's, for people and for later runs."""

import functools
import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, ClassVar, Literal, TypeAlias, cast

from pydantic import ConfigDict, Field, TypeAdapter

from pipeline_lib.errors import StorageError
from pipeline_lib.shown import printable
from pipeline_lib.storage.json_files import Json
from pipeline_lib.wording import first_line

Aspect: TypeAlias = Literal[
    "distribution", "nulls", "unseen", "categories", "volume", "freshness", "schema"
]
Verdict: TypeAlias = Literal["quiet", "noticed", "matters"]

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
_MAX_ROWS = 20
_MAX_SENTENCES = 8
_NAME_CHARS = 60
_RANK: dict[Verdict, int] = {"matters": 0, "noticed": 1, "quiet": 2}


@dataclass(frozen=True)
class DriftRow:
    """What one aspect of one column shows.

    Attributes:
        column: its name, whole; "" for the table itself.
        is_target: whether it is the column to predict.
        statistic: the distance as it is counted; for volume rows, for freshness days.
        noise: the part of it that chance alone would show; for volume what is usual.
        effect: the distance less its noise, a share of rows; 0 for volume and freshness.
        threshold: the effect (or the days) from which it matters.
        p_value: chance of such a distance without drift; None where nothing was tested.
        explanation: one sentence, with numbers.
    """

    column: str
    is_target: bool
    aspect: Aspect
    statistic: float
    noise: float
    effect: float
    threshold: float
    p_value: float | None
    verdict: Verdict
    explanation: str


@dataclass(frozen=True)
class NightRecord:
    """What later runs need to know of a run: a line of JSON.

    Attributes:
        night: its date.
        n_rows: rows compared.
        reference: digest of the profile they were compared with; "" without one.
        effects: by column (the target's name included), then aspect.
        mattered: columns and aspects that mattered.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    night: date
    n_rows: Annotated[int, Field(ge=0)]
    reference: str
    effects: dict[str, dict[Aspect, float]]
    mattered: tuple[tuple[str, Aspect], ...]

    def to_json(self) -> dict[str, Json]:
        """Return what `from_json` reads."""
        return cast("dict[str, Json]", _record_adapter().dump_python(self, mode="json"))

    @classmethod
    def from_json(cls, value: Json) -> "NightRecord":
        """Return the record that `to_json` has written.

        Raises:
            StorageError: it is damaged.
        """
        try:
            return _record_adapter().validate_json(json.dumps(value), strict=True)
        except ValueError as error:
            reason = " ".join(str(error).split()[:40])[:200] or first_line(error)
            raise StorageError(
                f"the record of a run is damaged: {reason}. Remove its line"
            ) from None


@functools.cache
def _record_adapter() -> TypeAdapter[NightRecord]:
    return TypeAdapter(NightRecord)


@dataclass(frozen=True)
class DriftReport:
    """How far this run's rows are from the champion's training rows.

    Attributes:
        has_reference: false on a first run; then columns were compared with nothing.
        rows: sorted by importance: what matters, what was noticed, the rest; of equals the table
            and the target come first, then the greatest effect.
        record: what to keep for later runs.
    """

    has_reference: bool
    n_rows_before: int
    n_rows: int
    rows: tuple[DriftRow, ...]
    record: NightRecord

    @property
    def matters(self) -> bool:
        """Whether anything does."""
        return any(row.verdict == "matters" for row in self.rows)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What to say in a log: at most 8 sentences, one per column, none of what is quiet."""
        by_column: dict[str, str] = {}
        for row in self.rows:
            if row.verdict != "quiet":
                sign = "matters" if row.verdict == "matters" else "noticed"
                key = row.column or row.aspect
                by_column.setdefault(key, f"{sign}: {row.explanation}")
        if not self.has_reference:
            by_column = {"": "no reference yet: nothing to compare the columns with"} | by_column
        said = list(by_column.values())
        if len(said) > _MAX_SENTENCES:
            more = len(said) - _MAX_SENTENCES + 1
            said = [*said[: _MAX_SENTENCES - 1], f"{more} more columns have moved"]
        return tuple(said)

    def to_json(self) -> dict[str, Json]:
        """Return every row, for machines."""
        return {
            "has_reference": self.has_reference,
            "n_rows_before": self.n_rows_before,
            "n_rows": self.n_rows,
            "matters": self.matters,
            "rows": [{**vars(row)} for row in self.rows],
            "record": self.record.to_json(),
        }

    def to_markdown(self) -> str:
        """Return a table of at most 20 rows, of those that are not quiet, and what was compared."""
        if not self.has_reference:
            head = "No reference yet: nothing to compare the columns with."
        else:
            head = f"{self.n_rows:,} rows against the champion's {self.n_rows_before:,}."
        loud = [row for row in self.rows if row.verdict != "quiet"]
        n_quiet = len(self.rows) - len(loud)
        lines = [head]
        if loud:
            lines += ["", "| Column | Aspect | Verdict | What |", "| --- | --- | --- | --- |"]
            lines += [_table_row(row) for row in loud[:_MAX_ROWS]]
            lines += [""]
        more = [f"{len(loud) - _MAX_ROWS} more rows"] if len(loud) > _MAX_ROWS else []
        quiet = [f"{n_quiet} comparisons showed no drift"] if n_quiet else []
        if more or quiet:
            lines.append(", ".join([*more, *quiet]) + ".")
        return "\n".join(lines) + "\n"


def sort_rows(rows: Sequence[DriftRow]) -> tuple[DriftRow, ...]:
    """Return rows by importance."""
    return tuple(
        sorted(
            rows,
            key=lambda row: (
                _RANK[row.verdict],
                row.column != "",
                not row.is_target,
                -row.effect,
                row.column,
            ),
        )
    )


def _table_row(row: DriftRow) -> str:
    name = short_name(row.column) if row.column else "(table)"
    verdict = f"**{row.verdict}**" if row.verdict == "matters" else row.verdict
    label = escape(name) + (" (target)" if row.is_target else "")
    return f"| {label} | {row.aspect} | {verdict} | {escape(row.explanation)} |"


def short_name(name: str) -> str:
    """Return a column's name on one printable line, cut to 60 characters."""
    line = printable(" ".join(name.split()))
    return line if len(line) <= _NAME_CHARS else f"{line[:_NAME_CHARS]}…"


def escape(text: str) -> str:
    r"""Return text that markdown shows as it is: names from data draw no tables, links or HTML.

    What is not printable is shown by its escape.

    >>> escape("a|b <b>")
    'a\\|b &lt;b&gt;'

    Inside a word an underscore is not special in markdown:

    >>> escape("macro_f1 of _x")
    'macro_f1 of \\_x'
    """
    text = html.escape(printable(" ".join(text.split())), quote=False)
    for sign in "\\|`*[]~":
        text = text.replace(sign, f"\\{sign}")
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)
