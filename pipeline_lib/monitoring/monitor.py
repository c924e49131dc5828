"""What a run's rows look like: their profile, how far they drifted, and what leaks.

Seen while the contract is checked, so that rows are read once. Profile and drift are written
beside the snapshot; what each run moved is remembered: it shows later runs what is usual.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.columns import HashColumn
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.data.values.spelling import KnownWords
from pipeline_lib.errors import StorageError
from pipeline_lib.home import DatasetFolder
from pipeline_lib.monitoring.drift import compare
from pipeline_lib.monitoring.drift_report import DriftReport, NightRecord
from pipeline_lib.monitoring.history import read_nights
from pipeline_lib.monitoring.leakage import MAX_ROWS, Leak, leaks_in
from pipeline_lib.monitoring.profile import CategoryProfile, Profile, Profiler
from pipeline_lib.monitoring.volume import Volume
from pipeline_lib.storage.json_files import write_json
from pipeline_lib.wording import MAX_EXAMPLES, examples, first_line

_PROFILE, _DRIFT = "profile.json", "drift.json"
# A few rows say nothing of a distribution.
_MIN_ARRIVALS = 50
# Known words of a column up to which a new one is news.
_MAX_KNOWN = 1_000


@dataclass(frozen=True)
class Watched:
    """How this run's rows compare; `arrivals` are those that the last run did not have.

    `new_words` says which columns of few words have one that no run before had.
    """

    rows: DriftReport
    arrivals: DriftReport | None
    leaks: tuple[Leak, ...]
    new_words: tuple[str, ...] = ()

    @property
    def matters(self) -> bool:
        """Whether the drift of all rows, or of the new ones, matters."""
        return self.rows.matters or (self.arrivals is not None and self.arrivals.matters)

    def sentences(self) -> tuple[str, ...]:
        """Return what a log should say of drift, the new rows' marked; none on a first run."""
        if not self.rows.has_reference:
            return ()
        of_arrivals = self.arrivals.sentences if self.arrivals else ()
        return (*self.rows.sentences, *(f"of the new rows: {text}" for text in of_arrivals))


class Watch:
    """Sees a snapshot's rows batch by batch, typed and not in quarantine.

    Args:
        config: columns, target, key.
        snapshot: the rows.
        known: by column, the words that the champion knows.
    """

    def __init__(
        self, config: PipelineConfig, snapshot: Snapshot, known: Mapping[str, pa.Array]
    ) -> None:
        self._config, self._snapshot, self._known = config, snapshot, known
        data = config.data

        def profiler() -> Profiler:
            return Profiler(
                config.columns, target=data.target, task=data.task, time=data.time, known=known
            )

        self._whole, self._new = profiler(), profiler()
        self._n_new = 0
        self._sample: list[pa.Table] = []
        self._stride = max(1, -(-snapshot.n_rows // MAX_ROWS))

    def see(self, typed: pa.Table, rows: npt.NDArray[np.int64]) -> None:
        """Look at a batch.

        Args:
            typed: as `CheckedBatch.typed`.
            rows: where each row stands in the snapshot, ascending, shape ``(n_rows,)``.
        """
        self._whole.add(typed)
        for start, stop in self._snapshot.arrivals or ():
            low, high = np.searchsorted(rows, [start, stop])
            self._new.add(typed.slice(low, high - low))
            self._n_new += int(high - low)
        wanted = np.flatnonzero(rows % self._stride == 0)
        self._sample.append(typed if self._stride == 1 else typed.take(pa.array(wanted)))

    def finish(
        self, *, reference: str | None, run_date: date, is_volume_said: bool = False
    ) -> Watched:
        """Compare, and write profile and drift beside the snapshot.

        Args:
            reference: digest of the snapshot that taught the champion, if there is one.
            run_date: the run's date.
            is_volume_said: whether `validation.volume` has spoken of the number of rows.
        """
        config, folder = self._config, self._snapshot.folder
        before = None if reference is None else read_profile(self._snapshot.dataset, reference)
        before = before and before.hiding(config.columns)
        history = read_nights(self._snapshot.dataset)
        profile, settings = self._whole.finish(), config.validation.drift
        whole = compare(
            before,
            profile,
            history=[night.rows for night in history],
            settings=settings,
            run_date=run_date,
            volume="skip" if is_volume_said else "notice",
        )
        arrivals: DriftReport | None = None
        if 0 < self._n_new < profile.n_rows and self._n_new >= _MIN_ARRIVALS:
            past: list[NightRecord] = [n.arrivals for n in history if n.arrivals is not None]
            arrivals = compare(
                before, self._new.finish(), history=past, settings=settings, run_date=run_date
            )
        sample = pa.concat_tables(self._sample)
        leaks = leaks_in(sample, config.columns, config.data.target, config.data.task)
        write_json(folder / _PROFILE, profile.to_json(), indent=None)
        record = {"rows": whole.to_json(), "arrivals": arrivals.to_json() if arrivals else None}
        write_json(folder / _DRIFT, record)
        return Watched(whole, arrivals, leaks, self._new_words(profile))

    def _new_words(self, profile: Profile) -> tuple[str, ...]:
        """Say which words are new to columns that a person could know by their words."""
        found: list[str] = []
        for name, column in self._config.categories.items():
            known, now = self._known.get(name), profile.columns[name]
            if known is None or not isinstance(now, CategoryProfile) or now.unseen is None:
                continue
            is_open = isinstance(column, HashColumn) or column.max_size or column.min_count
            if now.unseen.n_rows and not is_open and len(known) <= _MAX_KNOWN:
                n_rows = now.unseen.n_rows
                rows = f"{n_rows:,} {'row' if n_rows == 1 else 'rows'}"
                words = examples(now.unseen.examples)
                found.append(f"column {examples([name])}: values that are new: {words} ({rows})")
        if len(found) > MAX_EXAMPLES:
            found[MAX_EXAMPLES - 1 :] = [
                f"{len(found) - MAX_EXAMPLES + 1} more columns have values that are new"
            ]
        return tuple(found)


def volume_of(
    config: PipelineConfig, dataset: DatasetFolder, *, run_date: date, champion: str | None
) -> Volume:
    """Return what this run's number of rows is compared with.

    Args:
        config: the settings.
        dataset: its files.
        run_date: the run's date.
        champion: digest of the snapshot that taught the champion, if it is known.

    Raises:
        StorageError: the champion's profile is damaged.
    """
    profile = None if champion is None else read_profile(dataset, champion)
    return Volume(
        config,
        read_nights(dataset),
        run_date=run_date,
        champion=champion,
        champion_rows=None if profile is None else profile.n_rows,
    )


def known_classes(
    config: PipelineConfig, dataset: DatasetFolder, *, champion: str | None
) -> dict[str, KnownWords]:
    """Return the target's words in the champion's rows, in whose spelling typed labels are seen.

    Nothing where `data.classes` names them, or the champion's rows are not known any more.

    Args:
        config: the settings.
        dataset: its files.
        champion: digest of the snapshot that taught the champion, if it is known.

    Raises:
        StorageError: the champion's profile is damaged.
    """
    data = config.data
    profile = None if champion is None or data.classes else read_profile(dataset, champion)
    if profile is None or profile.target != data.target or data.task == "regression":
        return {}
    column = profile.target_profile
    if not isinstance(column, CategoryProfile) or not column.is_listed:
        return {}
    return {data.target: KnownWords(pa.array([top.word for top in column.top], pa.string()))}


def read_profile(dataset: DatasetFolder, digest: str) -> Profile | None:
    """Return the profile of one of a dataset's snapshots; None if it is gone.

    Raises:
        StorageError: the file is damaged.
    """
    path: Path = dataset.snapshots / digest[:16] / _PROFILE
    if not path.exists():
        return None
    try:
        return Profile.from_json(json.loads(path.read_text("utf-8")))
    except (StorageError, ValueError) as error:
        raise StorageError(
            f"{path} is damaged: {first_line(error)}. Remove it: then drift is reported again from "
            "the next champion on"
        ) from None
