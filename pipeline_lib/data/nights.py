"""What a dataset remembers of its nights: the rows of the last one, and how far each one drifted.

Only nights whose rows kept the contract are remembered. A missing or damaged memory is no error:
then everything of tonight is read, and nobody can tell what is new or usual.
"""

import json
from dataclasses import dataclass

from pipeline_lib.data.drift_report import NightRecord
from pipeline_lib.data.snapshot import LastNight, Snapshot
from pipeline_lib.errors import StorageError
from pipeline_lib.storage import Json, append_json_line, dataset_folder, read_json_lines, write_json

_LAST, _ALL = "last_night.json", "nights.jsonl"


@dataclass(frozen=True)
class Night:
    """How far a night drifted: all its rows, and its new ones where they could be told.

    `settings` is the digest of how the source was read, `source` what it is called, `digest` that
    of the snapshot; all three are "" for nights that an earlier release noted.
    """

    rows: NightRecord
    arrivals: NightRecord | None
    settings: str = ""
    source: str = ""
    digest: str = ""


def read_last_night(name: str) -> LastNight | None:
    """Return the last night of a dataset; None before the first."""
    path = dataset_folder(name) / _LAST
    try:
        return LastNight.from_json(name, json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_nights(name: str) -> list[Night]:
    """Return the drift of past nights, the oldest first."""
    try:
        lines = read_json_lines(dataset_folder(name) / _ALL)
        return [
            Night(
                NightRecord.from_json(line["rows"]),
                None if line["arrivals"] is None else NightRecord.from_json(line["arrivals"]),
                str(line.get("settings", "")),
                str(line.get("source", "")),
                str(line.get("digest", "")),
            )
            for line in lines
        ]
    except (StorageError, KeyError):
        return []


def remember_night(name: str, snapshot: Snapshot, night: Night) -> None:
    """Make tonight the last night, and note how far it drifted; once for the same rows."""
    last = LastNight(
        snapshot.folder,
        snapshot.digest,
        snapshot.n_rows,
        snapshot.reading,
        snapshot.parts,
        snapshot.arrivals,
        snapshot.news,
    )
    before = read_last_night(name)
    if before is None or before.digest != snapshot.digest:
        line: dict[str, Json] = {
            "rows": night.rows.to_json(),
            "arrivals": night.arrivals.to_json() if night.arrivals else None,
            "settings": night.settings,
            "source": snapshot.source,
            "digest": snapshot.digest,
        }
        append_json_line(dataset_folder(name) / _ALL, line)
    write_json(dataset_folder(name) / _LAST, last.to_json())
