"""Whether this run's rows differ from the champion's by more than chance, and whether it matters.

A row of the report is `noticed` when chance explains it less than once in a hundred runs (over
all columns and aspects of a run together), it moved at least a tenth of `min_effect`, and past
runs did not vary as much; it `matters` when it moved `min_effect` or more as well, and chance
would do so less than once in a thousand runs.
"""

import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Literal, TypeAlias

from pipeline_lib.config.validation import DriftSettings
from pipeline_lib.monitoring.drift_measures import Shift, measured, percent
from pipeline_lib.monitoring.drift_report import (
    Aspect,
    DriftReport,
    DriftRow,
    NightRecord,
    Verdict,
    short_name,
    sort_rows,
)
from pipeline_lib.monitoring.profile import ColumnProfile, Profile

VolumeRole: TypeAlias = Literal["judge", "notice", "skip"]

FAMILY_ALPHA = 0.01
MIN_HISTORY = 4

_LEAST_SHARE = 0.1
_SURER = 10


@dataclass(frozen=True)
class _Pair:
    """A column then and now; None where it is not there."""

    column: str
    is_target: bool
    before: ColumnProfile | None
    now: ColumnProfile | None


def compare(
    reference: Profile | None,
    current: Profile,
    *,
    history: Sequence[NightRecord] = (),
    settings: DriftSettings,
    run_date: date,
    volume: VolumeRole = "judge",
) -> DriftReport:
    """Compare this run's rows with the champion's training rows.

    Args:
        reference: profile of the champion's training rows; None on a first run, then only
            volume and freshness are judged.
        current: all rows of this run, or the new ones alone; made with `known` it counts words
            that the champion does not know, without it a lower bound of them is taken.
        history: past runs of the same kind (all rows, or the new ones alone); of them the last
            `settings.n_nights` before `run_date` count, one per date.
        settings: what matters.
        run_date: the run's date.
        volume: what becomes of the number of rows: whether it may matter, is noticed at most
            (of all rows `data.volume` judges it), or is left out, as that has spoken of it.
    """
    past = _past(history, settings, run_date)
    digest = "" if reference is None else reference.digest
    findings: list[tuple[_Pair, Shift]] = []
    rows: list[DriftRow] = []
    for pair in [] if reference is None else _pairs(reference, current):
        if pair.before is None or pair.now is None or pair.before.kind != pair.now.kind:
            rows.append(_schema_row(pair))
            continue
        day = run_date if pair.column == current.time and not pair.is_target else None
        found = measured(pair.before, pair.now, run_date=day, settings=settings)
        findings += [(pair, finding) for finding in found]
    alpha = FAMILY_ALPHA / max(len(findings), 1)
    effects: dict[str, dict[Aspect, float]] = {}
    mattered: list[tuple[str, Aspect]] = []
    for pair, finding in findings:
        usual = _usual(pair.column, finding.aspect, past, digest)
        rows.append(_judged(pair, finding, alpha, usual, settings))
        effects.setdefault(pair.column, {})[finding.aspect] = round(finding.effect, 5)
        if rows[-1].verdict == "matters":
            mattered.append((pair.column, finding.aspect))
    if volume != "skip":
        rows += _volume(current.n_rows, past, may_matter=volume == "judge")
    rows += _freshness(current, settings, run_date)
    return DriftReport(
        has_reference=reference is not None,
        n_rows_before=0 if reference is None else reference.n_rows,
        n_rows=current.n_rows,
        rows=sort_rows(rows),
        record=NightRecord(run_date, current.n_rows, digest, effects, tuple(mattered)),
    )


def _past(
    history: Sequence[NightRecord], settings: DriftSettings, run_date: date
) -> list[NightRecord]:
    by_date = {record.night: record for record in history if record.night < run_date}
    latest = sorted(by_date)[-settings.n_nights :] if settings.n_nights else []
    return [by_date[night] for night in latest]


def _pairs(reference: Profile, current: Profile) -> Iterable[_Pair]:
    same_target = reference.target == current.target
    target_before = reference.target_profile if same_target else None
    yield _Pair(current.target, True, target_before, current.target_profile)
    for name in dict.fromkeys([*current.columns, *reference.columns]):
        yield _Pair(name, False, reference.columns.get(name), current.columns.get(name))


def _judged(
    pair: _Pair, finding: Shift, alpha: float, usual: float | None, settings: DriftSettings
) -> DriftRow:
    threshold = finding.limit if usual is None else max(finding.limit, usual)
    verdict: Verdict = "quiet"
    ending = f"chance alone shows {percent(finding.noise)}"
    if finding.p_value <= alpha and finding.effect >= _LEAST_SHARE * settings.min_effect:
        if usual is not None and finding.effect <= usual:
            ending = f"past runs did so up to {percent(usual)}"
        else:
            sure = finding.p_value <= alpha / _SURER and finding.effect >= finding.limit
            verdict = "matters" if sure else "noticed"
    return DriftRow(
        column=pair.column,
        is_target=pair.is_target,
        aspect=finding.aspect,
        statistic=round(finding.statistic, 5),
        noise=round(finding.noise, 5),
        effect=round(finding.effect, 5),
        threshold=round(threshold, 5),
        p_value=float(f"{finding.p_value:.3g}"),
        verdict=verdict,
        explanation=f"{short_name(pair.column)}: {finding.story}; {ending}",
    )


def _usual(column: str, aspect: Aspect, past: Sequence[NightRecord], digest: str) -> float | None:
    """Return the effect that past runs make usual, or None if there are too few.

    Runs against another reference count only where it did not matter then: an old champion's drift
    is no excuse for a new one.
    """
    effects = [
        night.effects[column][aspect]
        for night in past
        if aspect in night.effects.get(column, {})
        and (night.reference == digest or (column, aspect) not in night.mattered)
    ]
    if len(effects) < MIN_HISTORY:
        return None
    middle = statistics.median(effects)
    spread = statistics.median(abs(effect - middle) for effect in effects)
    return middle + 4 * max(spread, middle / 16)


def _schema_row(pair: _Pair) -> DriftRow:
    if pair.before is None:
        text = "was not there before"
    elif pair.now is None:
        text = "is not there any more"
    else:
        text = f"was a column of kind {pair.before.kind} and is one of kind {pair.now.kind}"
    text = f"{short_name(pair.column)}: {text}"
    return DriftRow(pair.column, pair.is_target, "schema", 0, 0, 0, 0, None, "noticed", text)


def _volume(n_rows: int, past: Sequence[NightRecord], *, may_matter: bool) -> list[DriftRow]:
    """Judge the number of rows by what past runs had; a table that grows, by how it grew."""
    sizes = [night.n_rows for night in past]
    if len(sizes) < MIN_HISTORY:
        return []
    steps = [after - earlier for earlier, after in itertools.pairwise(sizes)]
    grows = min(steps) >= 0 and sizes[-1] > sizes[0]
    usual = [sizes[-1] + step for step in steps] if grows else sizes
    low, high, middle = min(usual), max(usual), statistics.median(usual)
    spread = max(high - low, 0.01 * middle, 2 * math.sqrt(middle))
    verdict: Verdict = "quiet"
    if n_rows < low / 2 or n_rows > 3 * high:
        verdict = "matters" if may_matter else "noticed"
    elif not low - spread <= n_rows <= high + spread:
        verdict = "noticed"
    growing = ", as the table grows" if grows else ""
    text = f"{n_rows:,} rows; the last {len(sizes)} runs make {low:,} to {high:,} usual{growing}"
    threshold = low / 2 if n_rows < middle else 3 * high
    return [DriftRow("", False, "volume", n_rows, middle, 0, threshold, None, verdict, text)]


def _freshness(current: Profile, settings: DriftSettings, run_date: date) -> list[DriftRow]:
    limit = settings.max_age_days
    if limit is None or current.time is None:
        return []
    name = short_name(current.time)
    if current.newest is None:
        text = f"{name}: no row has a time, so their age is not known"
        return [DriftRow("", False, "freshness", 0, 0, 0, limit, None, "noticed", text)]
    # Rows of the very day are not older than it began.
    age = max(0.0, (datetime.combine(run_date, time()) - current.newest) / timedelta(days=1))
    verdict: Verdict = "matters" if age > limit else "quiet"
    text = (
        f"{name}: the newest row is of {current.newest:%Y-%m-%d %H:%M}, {age:.1f} days before "
        f"{run_date}; {limit:g} are allowed"
    )
    return [DriftRow("", False, "freshness", round(age, 5), 0, 0, limit, None, verdict, text)]
