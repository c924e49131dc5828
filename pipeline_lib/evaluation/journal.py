"""The journal of a dataset: one line of JSON for each run, written as its last step.

Promoted, kept and rejected are decisions. Skipped, stopped, failed and superseded runs leave a
line too, which never counts as a decision about their rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from datetime import UTC, date, datetime

from pipeline_lib.config import PipelineConfig
from pipeline_lib.evaluation.standing import Standing, Verdict
from pipeline_lib.home import DatasetFolder
from pipeline_lib.storage.json_files import Json, append_json_line, read_json_lines
from pipeline_lib.wording import did_you_mean, examples

DECISIONS = ("promoted", "kept", "rejected")
_KINDS = {
    "decided_at": "no time",
    "run_date": "no date",
    "version": "no number of a version",
    "champion": "no number of a version",
}
_ENDS = (*DECISIONS, "skipped", "stopped", "failed", "superseded")


@dataclass(frozen=True)
class JournalEntry:
    """How a run ended.

    `champion` is the version in use afterwards, empty if there was none; None in lines of releases
    that did not write it. `pending` says why the same rows are judged again. `experiment` says
    why the run was one. `run_date` is the run's date (ISO).
    """

    decided_at: str
    decision: str
    reason: str
    version: str
    run_key: str
    run_id: str
    data_digest: str
    config_digest: str
    champion: str | None = None
    pending: str = ""
    experiment: str = ""
    run_date: str = ""

    @classmethod
    def from_json(cls, line: Mapping[str, Json]) -> "JournalEntry":
        """Return the entry of one line; keys that a later release writes are ignored.

        Raises:
            ValueError: a key is missing, or a value is not of its kind.
        """
        named = {field.name: field for field in fields(cls)}
        for key, field in named.items():
            if key not in line and field.default is MISSING:
                strange = [other for other in line if other not in named]
                instead = f", and there is {examples(strange)}" if strange else ""
                raise ValueError(f"{key!r} is missing{instead}")
        known = {key: value for key, value in line.items() if key in named}
        if known.get("champion") is None:
            known.pop("champion", None)
        texts = {key: value for key, value in known.items() if isinstance(value, str)}
        if strange := [key for key in known if key not in texts]:
            raise ValueError(f"{strange[0]!r} is {examples([known[strange[0]]])}, no text")
        _check_texts(texts)
        entry = cls(**texts)
        if entry.decision not in _ENDS:
            near = did_you_mean(entry.decision, _ENDS)
            raise ValueError(f"{examples([entry.decision])} is not a decision{near}")
        return entry


def _check_texts(texts: Mapping[str, str]) -> None:
    """Refuse what no release has written: what is compared later would be decided by it."""
    for key, text in texts.items():
        match key:
            case "decided_at":
                is_right = _is_time(text)
            case "run_date":
                is_right = not text or _is_day(text)
            case "version" | "champion":
                is_right = not text or (text.isascii() and text.isdigit())
            case _:
                is_right = text.isascii() or text == text.encode("utf-8", "replace").decode()
        if not is_right:
            raise ValueError(f"{key!r} is {examples([text])}, {_KINDS.get(key, 'no text')}")


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def entry_of(
    config: PipelineConfig,
    verdict: Verdict,
    standing: Standing,
    *,
    version: str,
    run_key: str,
    run_id: str,
    data_digest: str,
) -> JournalEntry:
    """Return the entry of a verdict that was carried out; `version` is the model's, if it has one.

    The champion afterwards is that version if it was promoted, else the one it was compared with.
    """
    outcome = verdict.decision.outcome
    return JournalEntry(
        decided_at=now(),
        decision=outcome,
        reason=verdict.decision.reason,
        version=version,
        run_key=run_key,
        run_id=run_id,
        data_digest=data_digest,
        config_digest=config.digest(),
        champion=version if outcome == "promoted" else verdict.instead_of,
        pending=verdict.pending,
        experiment=standing.experiment,
        run_date=standing.run_date,
    )


def skipped_entry(past: JournalEntry, *, champion: str, standing: Standing) -> JournalEntry:
    """Return the entry of a run with nothing new; `past` is the decision about its rows."""
    in_use = f"version {champion} stays champion" if champion else "there is no champion"
    reason = (
        f"nothing is new: rows and config are those of {_minute(past.decided_at)}, "
        f"when the model was {past.decision}; {in_use}"
    )
    return replace(
        past,
        decided_at=now(),
        decision="skipped",
        reason=reason,
        run_id="",
        champion=champion,
        experiment=standing.experiment,
        run_date=standing.run_date,
    )


def now() -> str:
    """Return the time of an entry, in UTC to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _minute(decided_at: str) -> str:
    """Return the time of an entry for people to read; times in other formats as they are."""
    try:
        return f"{datetime.fromisoformat(decided_at):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return decided_at


def append_entry(dataset: DatasetFolder, entry: JournalEntry) -> None:
    """Write an entry down."""
    append_json_line(dataset.journal, asdict(entry))


def read_journal(dataset: DatasetFolder) -> tuple[JournalEntry, ...]:
    """Return a dataset's entries, oldest first.

    Raises:
        StorageError: a line is damaged: what it decided would be decided again, or undone.
    """
    return tuple(read_json_lines(dataset.journal, JournalEntry.from_json))


def last_decision(
    entries: Sequence[JournalEntry], *, data_digest: str, config_digest: str, experiment: bool
) -> JournalEntry | None:
    """Return the config's last decision if it was about these very rows, else None.

    Args:
        entries: what `read_journal` returned.
        data_digest: of the snapshot.
        config_digest: of the config.
        experiment: whether experiments count; they decide nothing about a dataset's own runs.
    """
    mine = [
        entry
        for entry in entries
        if entry.decision in DECISIONS
        and entry.config_digest == config_digest
        and (experiment or not entry.experiment)
    ]
    return mine[-1] if mine and mine[-1].data_digest == data_digest else None


def champion_after(entries: Sequence[JournalEntry], entry: JournalEntry) -> str:
    """Return which version was in use after an entry; empty if none was."""
    if entry.champion is not None:
        return entry.champion
    before = entries[: 1 + max(i for i, known in enumerate(entries) if known == entry)]
    last = last_promotion(before)
    return last.version if last else ""


def last_promotion(entries: Sequence[JournalEntry]) -> JournalEntry | None:
    """Return the latest entry of a promotion, or None."""
    return next((entry for entry in reversed(entries) if entry.decision == "promoted"), None)


def last_end(dataset: DatasetFolder, data_digest: str) -> str:
    """Return when a run of these rows last made a decision (ISO 8601, UTC); "" if none did.

    Changes before then are on a page already.
    """
    ends = (
        entry.decided_at
        for entry in read_journal(dataset)
        if entry.data_digest == data_digest and entry.decision in DECISIONS and not entry.experiment
    )
    return max(ends, default="")
