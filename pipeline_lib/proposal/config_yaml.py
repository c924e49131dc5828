"""A proposal as the text of a config: values a person may change, and why each is there."""

import re
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import cast

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from pipeline_lib.config.columns import Column
from pipeline_lib.config.json_schema import SCHEMA_COMMENT
from pipeline_lib.config.settings import Settings
from pipeline_lib.proposal.columns import ProposedColumn
from pipeline_lib.proposal.propose import Proposal
from pipeline_lib.shown import printable

# Words that need no quotes in YAML; all others are quoted. YAML 1.1's yes and no too:
# other tools read these files as well.
_PLAIN = re.compile(r"[A-Za-z_][\w.\-/]*( [\w.\-/]+)*", flags=re.ASCII)
_RESERVED = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n", "none"})
_MAX_COMMENT = 200
_WIDTH = 44


def config_text(proposal: Proposal) -> str:
    """Return a config as YAML, each line with the evidence for it."""
    looked = f"{proposal.n_rows:,} rows"
    lines = [
        SCHEMA_COMMENT,
        f"# Proposed by `evergreen new` from {looked}. Everything here may be changed;",
        "# docs/reference/config.md lists all settings.",
        f"name: {scalar(proposal.name)}",
        "",
        *_data(proposal),
        "",
        *_columns(proposal),
        "",
        *_validation(proposal),
        "",
        *_split(proposal),
        "",
        *_training(),
    ]
    return "\n".join(lines) + "\n"


def scalar(text: str) -> str:
    """Return text as YAML, quoted wherever it could mean something else.

    >>> scalar("age"), scalar("on"), scalar("a: b")
    ('age', '"on"', '"a: b"')
    """
    if _PLAIN.fullmatch(text) and text.casefold() not in _RESERVED:
        return text
    yaml = YAML()
    yaml.width = 2**31
    yaml.allow_unicode = True
    out = StringIO()
    yaml.dump([DoubleQuotedScalarString(text)], out)  # pyright: ignore[reportUnknownMemberType]
    return out.getvalue().removeprefix("- ").rstrip("\n")


def _data(proposal: Proposal) -> list[str]:
    data, target = proposal.data, proposal.target
    lines = [
        "data:",
        f"  source: {_flow(_given(data.source))}",
        f"  target: {scalar(data.target)}",
        _with_comment(f"  task: {data.task}", target.reason),
    ]
    if data.classes is not None:
        lines.append(f"  classes: {_flow(data.classes)}")
    if target.skew:
        lines.append(_with_comment(f"  target_scale: {data.target_scale}", target.skew))
    if target.aside:
        lines.append(_with_comment(f"  severity: {data.severity}", target.aside))
    if data.key:
        reason = "identifies a row; the split hashes it, so a row keeps its split"
        lines.append(_with_comment(f"  key: {_flow(data.key)}", reason))
    elif proposal.counter is not None:
        reason = "a counter: use it if a row always keeps its number"
        lines.append(_with_comment(f"  #key: {_flow([proposal.counter])}", reason))
    if data.time is not None:
        lines.append(_with_comment(f"  time: {scalar(data.time)}", "when a row was created"))
    if data.time_format is not None:
        lines.append(f"  time_format: {scalar(data.time_format)}")
    return lines


def _columns(proposal: Proposal) -> list[str]:
    lines = ["columns:"]
    if proposal.left_out:
        lines.append("  # A column behind a # is left out; remove the # to use it.")
    return lines + [_column(column) for column in proposal.columns]


def _column(column: ProposedColumn) -> str:
    if column.column is None:
        return f"  # {scalar(column.name)}: {_comment(column.reason)}"
    mark = "" if column.is_feature else "#"
    line = f"  {mark}{scalar(column.name)}: {_flow(_given(column.column))}"
    return _with_comment(line, column.reason)


def _validation(proposal: Proposal) -> list[str]:
    least, percent = max(20, proposal.n_rows // 10), max(10, proposal.n_rows // 100)
    return [
        "validation:",
        _with_comment(
            f"  min_rows: {least}", "a tenth of today's; `volume` compares with previous runs"
        ),
        _with_comment(
            f"  quarantine: {{max_rows: {percent}, max_percent: 1.0}}",
            "for columns with `severity: quarantine`",
        ),
    ]


def _split(proposal: Proposal) -> list[str]:
    line = "split: {kind: hash, val: 0.15, test: 0.15, seed: 0}"
    time = proposal.time
    if time is None or time.dates is None:
        return [line]
    days = max(1, round((time.dates.last - time.dates.first).days * 0.15))
    return [
        f"# To test on the newest rows by {_comment(time.name)}, as in production:",
        f"#split: {{kind: time, val_days: {days}, test_days: {days}}}",
        line,
    ]


def _training() -> list[str]:
    reason = "chosen by the table, `evergreen check` shows what and why"
    return [
        _with_comment("model: {kind: auto}", reason),
        "",
        "training:",
        _with_comment("  seed: 0", "whatever else is set here is kept by `auto`"),
    ]


def _given(settings: Settings | Column) -> dict[str, object]:
    """Return what differs from the defaults, the kind first."""
    found: dict[str, object] = {"kind": getattr(settings, "kind")}  # noqa: B009 - each has one
    for name, field in type(settings).model_fields.items():
        value: object = getattr(settings, name)
        if name != "kind" and (field.is_required() or value != field.default):
            found[name] = _given(value) if isinstance(value, Settings) else value
    return found


def _flow(value: object) -> str:
    if isinstance(value, Mapping):
        pairs = cast("Mapping[str, object]", value).items()
        return "{" + ", ".join(f"{scalar(key)}: {_flow(inner)}" for key, inner in pairs) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:g}" if float(value).is_integer() and abs(value) < 1e6 else repr(value)
    if isinstance(value, str):
        return scalar(value)
    return "[" + ", ".join(_flow(inner) for inner in cast("Sequence[object]", value)) + "]"


def _with_comment(line: str, comment: str) -> str:
    return f"{line.ljust(_WIDTH)}  # {_comment(comment)}"


def _comment(text: str) -> str:
    """Return text that cannot leave its comment: one line, printable, not too long."""
    plain = printable(text)
    return plain if len(plain) <= _MAX_COMMENT else f"{plain[:_MAX_COMMENT]}…"
