"""The decision record: one page that says what happened and why, as markdown."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline_lib.config.data import Task
from pipeline_lib.config.metrics import METRICS, Metric
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.encoding.ledger import LedgerChange, Words
from pipeline_lib.errors import EvergreenError
from pipeline_lib.evaluation.comparison import Scores
from pipeline_lib.evaluation.gate import ChampionScores, Decision
from pipeline_lib.evaluation.reliability import Reliability
from pipeline_lib.evaluation.results import EvaluationResult
from pipeline_lib.monitoring.drift_report import DriftReport, escape
from pipeline_lib.wording import examples, first_line

_MAX_ROWS = 30
_UNDEFINED = "–"
_HEADLINE = {
    "promoted": "the new model is the champion",
    "kept": "the champion stays",
    "rejected": "the new model was rejected",
}


@dataclass(frozen=True)
class DecisionRecord:
    """Everything the page shows."""

    name: str
    task: Task
    primary: Metric
    decision: Decision
    result: EvaluationResult
    champion: ChampionScores | None
    version: str
    source: str
    n_rows: Mapping[str, int]
    changes: Sequence[LedgerChange]
    notes: Sequence[str]
    drift: DriftReport
    drift_of_new: DriftReport | None
    training: Mapping[str, str]
    data_digest: str
    links: Mapping[str, str]
    experiment: str = ""

    def to_markdown(self) -> str:
        """Return the page."""
        headline = "an experiment" if self.experiment else _HEADLINE[self.decision.outcome]
        parts = [
            f"# {self.name}: {headline}",
            f"**{self.decision.outcome}**{self._version()}: {escape(self.decision.reason)}.",
            "## On the test rows",
            self._scores(),
            *_notes(self.result.notes),
            "## Why",
            _table(
                ("check", "", "what was seen"),
                ((c.name, "✓" if c.passed else "✗", escape(c.seen)) for c in self.decision.checks),
            ),
            "## The data",
            self._data(),
        ]
        parts += _notes(self.notes)
        if self.drift.has_reference:
            parts += ["## Compared with the champion's training rows", self.drift.to_markdown()]
            if self.drift_of_new is not None:
                parts += ["### The new rows alone", self.drift_of_new.to_markdown()]
        if self.changes:
            parts += ["## The categories", self._categories()]
        if self.result.classes:
            parts += ["## Class by class", self._classes()]
        if self.result.reliability is not None:
            parts += ["## How sure it is", *_how_sure(self.result.reliability, self.task)]
        training = {name: escape(text) for name, text in self.training.items()}
        parts += ["## The training", _bullets(training)]
        parts += ["## Where to look", _bullets(self.links)]
        return "\n\n".join(parts) + "\n"

    def _version(self) -> str:
        return f" (version {self.version})" if self.version else ""

    def _scores(self) -> str:
        metrics = METRICS[self.task]
        fit_s = self.result.fit_s
        rows: list[tuple[str, Scores, float | None]] = [
            ("**new model**", self.result.scores, fit_s.get(""))
        ]
        if self.champion is not None:
            rows.append((f"champion v{self.champion.version}", self.champion.scores or {}, None))
        rows += [(name, found, fit_s.get(name)) for name, found in self.result.baselines.items()]
        head = ("", *(f"**{m}**" if m == self.primary else m for m in metrics), "training, s")
        return _table(
            head,
            (
                (name, *(_number(found.get(m)) for m in metrics), _number(seconds, 1))
                for name, found, seconds in rows
            ),
        )

    def _data(self) -> str:
        counts = ", ".join(f"{split} {n:,}" for split, n in self.n_rows.items())
        return _bullets(
            {
                "source": escape(self.source),
                "snapshot": f"`{self.data_digest[:16]}`",
                "rows": counts,
                "categories": "" if self.changes else "unchanged since the last run",
            }
        )

    def _categories(self) -> str:
        rows = [
            (escape(c.column), *(escape(_words(w)) for w in (c.new, c.quiet, c.back)), _rare(c))
            for c in self.changes[:_MAX_ROWS]
        ]
        more = len(self.changes) - len(rows)
        table = _table(
            ("column", "new", "no longer seen", "seen again", "too rare for a code"), rows
        )
        return f"{table}\n\n… and {more} more columns" if more else table

    def _classes(self) -> str:
        classes = self.result.classes
        rows = [
            (
                escape(c.name),
                f"{c.precision:.3f}",
                f"{c.recall:.3f}" if c.n_rows else _UNDEFINED,
                f"{c.f1:.3f}" if c.n_rows else _UNDEFINED,
                str(c.n_rows),
            )
            for c in classes[:_MAX_ROWS]
        ]
        more = len(classes) - len(rows)
        table = _table(("class", "precision", "recall", "f1", "rows"), rows)
        return f"{table}\n\n… and {more} more classes" if more else table


@dataclass(frozen=True)
class FailureRecord:
    """The page of a run that made no decision: `outcome` is stopped (by its data) or failed."""

    name: str
    outcome: Literal["stopped", "failed"]
    error: Exception
    snapshot: Snapshot | None
    links: Mapping[str, str]

    @property
    def reason(self) -> str:
        """What ended the run, in one line."""
        text = first_line(self.error)
        return (
            text
            if isinstance(self.error, EvergreenError)
            else f"{type(self.error).__name__}: {text}"
        )

    @property
    def summary(self) -> str:
        """The reason with the first thing that broke, where a list of these follows it."""
        lines = [line.strip() for line in str(self.error).splitlines()]
        if not self.reason.endswith(":") or len(lines) < 2:
            return self.reason
        more = f" (and {len(lines) - 2} more)" if len(lines) > 2 else ""
        return f"{self.reason} {lines[1]}{more}"

    def to_markdown(self) -> str:
        """Return the page."""
        what = "the data broke its contract" if self.outcome == "stopped" else "the run failed"
        rows = self.snapshot
        facts = {
            "source": escape(rows.source) if rows else "",
            "snapshot": f"`{rows.digest[:16]}`" if rows else "",
            "rows": f"{rows.n_rows:,}" if rows else "none were read",
        }
        lines = str(self.error).splitlines()[1 : 1 + _MAX_ROWS]
        parts = [
            f"# {self.name}: {what}",
            f"**{self.outcome}**: {escape(self.reason)}",
            "\n".join(f"- {escape(line.strip())}" for line in lines),
            "The model in use stays as it is, and nothing was registered.",
            "## The data",
            _bullets(facts),
            "## Where to look",
            _bullets(self.links),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are markdown already."""
    lines = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + " --- |" * len(head), *lines[1:]])


def _notes(notes: Sequence[str]) -> list[str]:
    return ["\n".join(f"- {escape(note)}" for note in notes[:_MAX_ROWS])] if notes else []


def _bullets(facts: Mapping[str, str]) -> str:
    return "\n".join(f"- {key}: {value}" for key, value in facts.items() if value)


def _words(words: Words) -> str:
    return f"{words.n:,}: {examples(words.some)}" if words.n else ""


def _how_sure(reliability: Reliability, task: Task) -> tuple[str, str]:
    """Return a table and a line: probabilities beside what happened."""
    what = "the positive class" if task == "binary" else "the predicted class"
    error = (
        f"Calibration error {reliability.error:.3f}: the mean distance between the probability of "
        f"{what} and how often it was right."
    )
    rows = (
        (f"{each.said:.3f}", f"{each.found:.3f}", f"{each.n_rows:,}") for each in reliability.bins
    )
    return _table(("probability", "how often right", "rows"), rows), error


def _rare(change: LedgerChange) -> str:
    return f"{change.n_rare:,} in {change.n_rare_rows:,} rows" if change.n_rare else ""


def _number(value: float | None, n_digits: int = 4) -> str:
    return _UNDEFINED if value is None else f"{value:.{n_digits}f}"
