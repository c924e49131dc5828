"""The journal of a dataset's decisions: one line of JSON each, the last step of a night."""

from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline_lib.storage import append_json_line, dataset_folder, read_json_lines

_DECISIONS = ("promoted", "kept", "rejected")


@dataclass(frozen=True)
class JournalEntry:
    """A decision that was carried out."""

    decided_at: str
    decision: str
    reason: str
    version: str
    run_key: str
    run_id: str
    data_digest: str
    config_digest: str


def append_entry(name: str, entry: JournalEntry) -> None:
    """Write a decision down."""
    append_json_line(_path(name), asdict(entry))


def read_journal(name: str) -> tuple[JournalEntry, ...]:
    """Return a dataset's decisions, oldest first."""
    return tuple(
        JournalEntry(**{key: str(value) for key, value in line.items()})
        for line in read_json_lines(_path(name))
    )


def last_decision(name: str, *, data_digest: str, config_digest: str) -> JournalEntry | None:
    """Return the config's last decision if it was about these very rows, else None."""
    mine = [entry for entry in read_journal(name) if entry.config_digest == config_digest]
    return mine[-1] if mine and mine[-1].data_digest == data_digest else None


def last_end(name: str, data_digest: str) -> str:
    """Return when a night of these rows last came to a decision (ISO 8601, UTC); "" if none did.

    What had changed before then stands on a page already.
    """
    ends = (
        entry.decided_at
        for entry in read_journal(name)
        if entry.data_digest == data_digest and entry.decision in _DECISIONS
    )
    return max(ends, default="")


def _path(name: str) -> Path:
    return dataset_folder(name) / "decisions.jsonl"
