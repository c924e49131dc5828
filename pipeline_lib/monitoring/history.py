"""What a dataset remembers of its runs: the rows of the last one, and how far each one drifted.

Only runs whose rows kept the contract are remembered. A missing memory is no error, and a damaged
one stops no run, but is reported: then everything is read again, and what is new or usual is known
from what is left.
"""

import functools
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline_lib.data.snapshots.snapshot import LastNight, Snapshot
from pipeline_lib.home import DatasetFolder
from pipeline_lib.monitoring.drift_report import NightRecord
from pipeline_lib.storage.json_files import Json, append_json_line, read_json_lines, write_json
from pipeline_lib.wording import first_line, refusal

_MAX_REASON = 200
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Night:
    """How far a run drifted: all its rows, and its new ones where they are known.

    `settings` is the digest of how the source was read, `source` what it is called, `digest` that
    of the snapshot; all three are "" for runs that an earlier release noted.
    """

    rows: NightRecord
    arrivals: NightRecord | None
    settings: str = ""
    source: str = ""
    digest: str = ""


def read_last_night(dataset: DatasetFolder) -> LastNight | None:
    """Return the last run of a dataset; None before the first, or if its memory is damaged."""
    path = dataset.last_night
    try:
        return LastNight.from_json(dataset, json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except OSError as error:
        _say(f"{refusal(error, path)}. Make it readable: all rows are read anew")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {first_line(error)}"[:_MAX_REASON]
        _say(f"{path} is damaged ({reason}): all rows are read anew, and it is written anew")
    return None


def read_nights(dataset: DatasetFolder) -> list[Night]:
    """Return the drift of past runs, the oldest first; a damaged line is reported and left out."""
    return read_json_lines(dataset.nights, _night, on_damage=_say)


def _night(line: Mapping[str, Json]) -> Night:
    return Night(
        NightRecord.from_json(line["rows"]),
        None if line["arrivals"] is None else NightRecord.from_json(line["arrivals"]),
        str(line.get("settings", "")),
        str(line.get("source", "")),
        str(line.get("digest", "")),
    )


@functools.lru_cache(maxsize=64)
def _say(text: str) -> None:
    """Warn once; a run asks several times."""
    _logger.warning("%s", text)


def remember_night(snapshot: Snapshot, night: Night) -> None:
    """Make this run the last run, and note how far it drifted; once for the same rows."""
    last = LastNight(
        snapshot.folder,
        snapshot.digest,
        snapshot.n_rows,
        snapshot.reading,
        snapshot.parts,
        snapshot.arrivals,
        snapshot.news,
    )
    before = read_last_night(snapshot.dataset)
    if before is None or before.digest != snapshot.digest:
        line: dict[str, Json] = {
            "rows": night.rows.to_json(),
            "arrivals": night.arrivals.to_json() if night.arrivals else None,
            "settings": night.settings,
            "source": snapshot.source,
            "digest": snapshot.digest,
        }
        append_json_line(snapshot.dataset.nights, line)
    write_json(snapshot.dataset.last_night, last.to_json())
