"""What a dataset remembers of its nights: the rows of the last one that kept the contract.

A missing or damaged memory is no error: then everything of tonight is read, and nobody can tell
what is new.
"""

import json

from pipeline_lib.data.snapshot import LastNight, Snapshot
from pipeline_lib.storage import dataset_folder, write_json

_FILE = "last_night.json"


def read_last_night(name: str) -> LastNight | None:
    """Return the last night of a dataset; None before the first."""
    path = dataset_folder(name) / _FILE
    try:
        return LastNight.from_json(name, json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember_night(name: str, snapshot: Snapshot) -> None:
    """Make tonight the last night."""
    night = LastNight(
        snapshot.folder, snapshot.digest, snapshot.n_rows, snapshot.reading, snapshot.parts
    )
    write_json(dataset_folder(name) / _FILE, night.to_json())
