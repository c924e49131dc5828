"""Whether this run has about as many rows as the previous runs.

This run is compared with the last accepted run, and with the largest of the accepted runs and
the champion's rows: a table that loses a third each run never loses half of the previous run.
A run that stopped is no accepted one, so the same rows stop again. A drop that a person has let
through, by raising the setting, is usual from then on: what follows is compared with that run.

Rows count that may be trained on, quarantined ones less. Runs of a later date, and of a source
with other settings, are not comparable.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.sources import Source
from pipeline_lib.errors import VolumeError
from pipeline_lib.monitoring.history import Night
from pipeline_lib.storage.digests import digest_json
from pipeline_lib.wording import rows_that

# Accepted runs that count, the last one always.
_N_NIGHTS = 14


@dataclass(frozen=True)
class _Reference:
    """Rows to compare with, and what messages call them."""

    n_rows: int
    said: str


def source_settings(source: Source) -> str:
    """Return the digest of how a source is read, its window included; what is a default less."""
    kind: str = source.kind
    return digest_json([kind, source.model_dump(mode="json", exclude_defaults=True)])


class Volume:
    """This run's number of rows, compared with `validation.volume`.

    Args:
        config: the settings and the source.
        nights: accepted runs, in the order in which they were.
        run_date: the run's date.
        champion: digest of the rows that taught the champion, if there is one.
        champion_rows: how many those were, if `nights` does not say.
    """

    def __init__(
        self,
        config: PipelineConfig,
        nights: Sequence[Night],
        *,
        run_date: date,
        champion: str | None = None,
        champion_rows: int | None = None,
    ) -> None:
        self._settings = config.validation.volume
        settings = source_settings(config.data.source)
        by_date = sorted(nights, key=lambda night: night.rows.night)
        due = [night for night in by_date if night.rows.night <= run_date]
        # Runs of the release before do not say how their source was read.
        mine = [night for night in due if night.settings in ("", settings)]
        self._past = [_of_night(night) for night in mine][-_N_NIGHTS:]
        self._other = None if self._past or not due else _of_night(due[-1])
        self._champion: _Reference | None = None
        self._is_champion_older = False
        taught = [night for night in nights if champion and night.digest == champion]
        if taught:
            comparable = [night for night in taught if night in mine]
            self._champion = _of_night(comparable[-1]) if comparable else None
            self._is_champion_older = not any(n in taught for n in mine[-_N_NIGHTS:])
        elif champion_rows is not None and self._other is None:
            self._champion = _Reference(
                champion_rows, f"{rows_that(champion_rows)} of the champion"
            )

    def hold(self, n_rows: int, *, source: str) -> str | None:
        """Return what is to be said of this run's number of rows, if anything.

        Args:
            n_rows: this run's rows.
            source: what messages call them.

        Raises:
            VolumeError: more rows are missing than `max_drop` allows.
        """
        found = f"{source} has {rows_that(n_rows)}"
        if (before := self._dropped_from(n_rows)) is not None:
            share = 1 - n_rows / before.n_rows
            raise VolumeError(
                f"{found}, {share:.0%} fewer than the {before.said}; "
                f"`validation.volume.max_drop: {self._settings.max_drop:g}` stops the run. "
                "Nothing was trained. Look whether the source is whole. If so many rows are right, "
                "raise `validation.volume.max_drop`, or set it to null until a run has passed",
                n_rows=n_rows,
                n_before=before.n_rows,
            )
        limit = self._settings.max_growth
        last = self._past[-1] if self._past else self._champion
        if limit is not None and last is not None and n_rows > limit * last.n_rows:
            times = f"{n_rows / last.n_rows:.1f} times" if last.n_rows else "more than"
            return (
                f"{found}, {times} the {last.said}, more than "
                f"`validation.volume.max_growth: {limit:g}`: look whether rows came twice"
            )
        return self._of_other_settings(n_rows, found)

    def _dropped_from(self, n_rows: int) -> _Reference | None:
        """Return the rows against which this run's are too few."""
        most = self._settings.max_drop
        if most is None:
            return None
        least = 1 - most
        accepted = self._accepted_drop(least)
        if accepted is not None:
            held = [accepted]
        else:
            known = [*self._past, *([self._champion] if self._champion else [])]
            held = [*self._past[-1:], *sorted(known, key=lambda r: -r.n_rows)[:1]]
        return next((before for before in held if n_rows < least * before.n_rows), None)

    def _accepted_drop(self, least: float) -> _Reference | None:
        """Return the last run that had too few rows itself and was accepted, if there is one."""
        before = self._champion if self._is_champion_older else None
        highest = before.n_rows if before else 0
        found: _Reference | None = None
        for night in self._past:
            if night.n_rows < least * (found.n_rows if found else highest):
                found = night
            highest = max(highest, night.n_rows)
        return found

    def _of_other_settings(self, n_rows: int, found: str) -> str | None:
        other, drop, growth = self._other, self._settings.max_drop, self._settings.max_growth
        if other is None:
            return None
        is_far = (drop is not None and n_rows < (1 - drop) * other.n_rows) or (
            growth is not None and n_rows > growth * other.n_rows
        )
        if not is_far:
            return None
        return (
            f"{found}, the previous run with other settings of `data.source` had the "
            f"{other.said}: not compared with `validation.volume`"
        )


def _of_night(night: Night) -> _Reference:
    source = f" ({night.source})" if night.source else ""
    return _Reference(
        night.rows.n_rows, f"{rows_that(night.rows.n_rows)} of {night.rows.night}{source}"
    )
