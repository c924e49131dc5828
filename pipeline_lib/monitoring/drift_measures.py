"""What each aspect of a column shows of drift, before it is judged."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import numpy as np

from pipeline_lib.config.validation import DriftSettings
from pipeline_lib.monitoring.category_sketch import N_BUCKETS
from pipeline_lib.monitoring.counts import Floats
from pipeline_lib.monitoring.distances import (
    Bins,
    Distance,
    MostRows,
    NoiseFactors,
    distance,
    group_bins,
    noise_factors,
    number_bins,
    shares_tail,
    summed,
    word_bins,
)
from pipeline_lib.monitoring.drift_report import Aspect
from pipeline_lib.monitoring.number_sketch import keys_of, numbers_of
from pipeline_lib.monitoring.profile import (
    EPOCH,
    CategoryProfile,
    ColumnProfile,
    NumberProfile,
    expected_unseen,
)

_NAMED_ALPHA = 0.01
_ALMOST_NONE, _MANY_NULLS = 0.005, 0.05
_AS_GOOD_AS_GONE = 0.05


@dataclass(frozen=True)
class Shift:
    """What was measured of one aspect of a column.

    Attributes:
        statistic: the distance as it is counted.
        noise: what chance alone would show of it.
        effect: the distance less its noise, a share of rows.
        p_value: chance of such a distance without drift.
        limit: the effect from which it matters.
        story: it in words, for a report.
    """

    aspect: Aspect
    story: str
    statistic: float
    noise: float
    effect: float
    p_value: float
    limit: float


def measured(
    before: ColumnProfile, now: ColumnProfile, *, run_date: date | None, settings: DriftSettings
) -> list[Shift]:
    """Return what each aspect of a column shows.

    Args:
        before: of the champion's training rows.
        now: of this run's rows; of the same kind.
        run_date: the run's date if the column is `data.time`, which moves on by itself.
        settings: what matters.
    """
    found = [_nulls(before, now, settings)]
    factors = noise_factors(before, now, of_nulls=False)
    if isinstance(before, CategoryProfile) and isinstance(now, CategoryProfile):
        found.append(_words(before, now, factors, settings))
        found.append(_unseen(before, now, factors, settings))
        found.append(_come_and_gone(before, now, factors, settings))
    elif isinstance(before, NumberProfile) and isinstance(now, NumberProfile):
        if run_date is not None:
            found.append(_times(before, now, run_date, factors, settings))
        else:
            found.append(_numbers(before, now, factors, settings))
    return [finding for finding in found if finding is not None]


def _nulls(before: ColumnProfile, now: ColumnProfile, settings: DriftSettings) -> Shift | None:
    if not (before.n_rows and now.n_rows and (before.n_null or now.n_null)):
        return None
    factors = noise_factors(before, now, of_nulls=True)
    shares = before.n_null / before.n_rows, now.n_null / now.n_rows
    sizes = before.n_rows / factors.before, now.n_rows / factors.now
    common = (before.n_null + now.n_null) / (before.n_rows + now.n_rows)
    noise = math.sqrt(2 * common * (1 - common) / math.pi * (1 / sizes[0] + 1 / sizes[1]))
    moved = abs(shares[1] - shares[0])
    p_value = shares_tail(shares[0] * sizes[0], sizes[0], shares[1] * sizes[1], sizes[1])
    from_none = shares[0] <= _ALMOST_NONE
    return Shift(
        aspect="nulls",
        story=f"{percent(shares[1])} of rows have no value, {percent(shares[0])} before",
        statistic=moved,
        noise=noise,
        effect=moved,
        p_value=min(1.0, 2 * p_value),
        limit=min(settings.min_effect, _MANY_NULLS) if from_none else settings.min_effect,
    )


def _words(
    before: CategoryProfile, now: CategoryProfile, factors: NoiseFactors, settings: DriftSettings
) -> Shift | None:
    bins = word_bins(before, now)
    if not (bins.before.sum() and bins.now.sum()):
        return None
    apart = distance(bins, factors)
    shares = [counts / counts.sum() for counts in (bins.before, bins.now)]
    change = shares[1] - shares[0]
    named = np.array([label != "" for label in bins.labels])
    parts: list[str] = []
    for sign, direction in ((1, "more"), (-1, "less")):
        gains = np.where(named, sign * change, 0)
        if len(gains) and gains.max() >= apart.moved / 10 > 0:
            i = int(gains.argmax())
            was, is_now = (percent(float(share[i])) for share in shares)
            parts.append(f"{direction} {bins.labels[i]!r} ({was} → {is_now})")
    most = f", most: {', '.join(parts)}" if parts else ", spread over many words"
    return _moved(apart, most, settings)


def _numbers(
    before: NumberProfile, now: NumberProfile, factors: NoiseFactors, settings: DriftSettings
) -> Shift | None:
    bins = number_bins(before.leaves, now.leaves)
    if not (bins.before.sum() and bins.now.sum()):
        return None
    apart = distance(bins, factors)
    shown = _time_text if now.kind == "datetime" else _number_text
    means = ""
    if before.mean is not None and now.mean is not None:
        means = f" (mean {shown(before.mean)} → {shown(now.mean)})"
    where = _from_and_to(bins, before, now, shown)
    return _moved(apart, f", mostly {where}{means}", settings)


def _moved(apart: Distance, where: str, settings: DriftSettings) -> Shift:
    return Shift(
        aspect="distribution",
        story=f"{percent(apart.effect)} of rows moved{where}",
        statistic=apart.moved,
        noise=apart.noise,
        effect=apart.effect,
        p_value=apart.p_value,
        limit=settings.min_effect,
    )


def _from_and_to(
    bins: Bins, was: NumberProfile, is_now: NumberProfile, shown: Callable[[float], str]
) -> str:
    """Return "from 0.4–0.6 to above 0.8": the ranges that lost and gained the most."""
    before, now = bins.before / bins.before.sum(), bins.now / bins.now.sum()
    group = group_bins((before + now) / 2, 0, bins)
    before, now = summed(group, before), summed(group, now)
    first = np.searchsorted(group, np.arange(len(before)))
    last = np.searchsorted(group, np.arange(len(before)), side="right") - 1
    ends = [e for e in (was.minimum, was.maximum, is_now.minimum, is_now.maximum) if e is not None]
    low, high = (
        np.clip(numbers_of(keys), min(ends), max(ends))
        for keys in (bins.low[first], bins.high[last])
    )

    def span(gains: Floats) -> str:
        start, end = _greatest_sum(gains.tolist())
        if start == 0 and end == len(gains) - 1:
            return "everywhere"
        if start == 0:
            return f"below {shown(float(low[end + 1]))}"
        if end == len(gains) - 1:
            return f"above {shown(float(high[start - 1]))}"
        edges = shown(float(low[start])), shown(float(high[end]))
        return edges[0] if edges[0] == edges[1] else f"{edges[0]}–{edges[1]}"

    return f"from {span(before - now)} to {span(now - before)}"


def _greatest_sum(gains: Sequence[float]) -> tuple[int, int]:
    """Return the first and last place of the stretch with the greatest sum (Kadane)."""
    best, best_span, running, start = -math.inf, (0, 0), 0.0, 0
    for i, gain in enumerate(gains):
        if running <= 0:
            running, start = 0.0, i
        running += gain
        if running > best:
            best, best_span = running, (start, i)
    return best_span


def _times(
    before: NumberProfile,
    now: NumberProfile,
    run_date: date,
    factors: NoiseFactors,
    settings: DriftSettings,
) -> Shift | None:
    """Judge `data.time`: new rows are later than old ones, but not before all, nor after today."""
    if before.minimum is None or now.minimum is None:
        return None
    sizes = [(p.n_rows - p.n_null) for p in (before, now)]
    latest = (datetime.combine(run_date, time()) - EPOCH + timedelta(days=2)) / timedelta(
        microseconds=1
    )
    limits = keys_of(np.array([before.minimum, latest]))
    shares: list[tuple[float, float]] = []
    for profile, size in zip((before, now), sizes, strict=True):
        low, high = profile.leaves.bounds()
        counts = np.array(profile.leaves.counts)
        early, late = counts[high < limits[0]].sum(), counts[low > limits[1]].sum()
        shares.append((float(early / size), float(late / size)))
    early_moved, late_moved = shares[1][0] - shares[0][0], shares[1][1] - shares[0][1]
    side = 0 if early_moved >= late_moved else 1
    n = sizes[0] / factors.before, sizes[1] / factors.now
    was, is_now = shares[0][side], shares[1][side]
    first = f"{percent(is_now)} of rows are older than the oldest before"
    texts = (
        f"{first} ({_time_text(before.minimum)})",
        f"{percent(is_now)} of rows lie after {_time_text(latest)}, in the future",
    )
    effect = max(0.0, is_now - was)
    return Shift(
        aspect="distribution",
        story=texts[side],
        statistic=effect,
        noise=0.0,
        effect=effect,
        p_value=min(1.0, 2 * shares_tail(was * n[0], n[0], is_now * n[1], n[1])),
        limit=settings.min_effect,
    )


def _unseen(
    before: CategoryProfile, now: CategoryProfile, factors: NoiseFactors, settings: DriftSettings
) -> Shift | None:
    n_before, n_now = before.n_rows - before.n_null, now.n_rows - now.n_null
    if not (n_before and n_now):
        return None
    expected = expected_unseen(before)
    count = now.unseen.n_rows if now.unseen is not None else _least_unseen(before, now)
    share = count / n_now
    # The estimate itself varies by (N1 + 2 N2) / n² (Esty 1983), not by N1 / n².
    once, twice = before.rare[0], before.rare[1]
    wider = (once + 2 * twice + 1) / (once + 1)
    sizes = n_before / (factors.before * wider), n_now / factors.now
    p_value = 1.0
    if share > expected:
        p_value = shares_tail(expected * sizes[0], sizes[0], share * sizes[1], sizes[1])
    least = "" if now.unseen is not None else "at least "
    words = now.unseen.examples if now.unseen is not None else ()
    such = f", such as {', '.join(repr(word) for word in words[:3])}" if words else ""
    return Shift(
        aspect="unseen",
        story=f"{least}{percent(share)} of rows have a word unseen in training{such}; "
        f"{percent(expected)} were to be expected",
        statistic=share,
        noise=math.sqrt(2 / math.pi * expected * (1 - expected) * (1 / sizes[0] + 1 / sizes[1])),
        effect=max(0.0, share - expected),
        p_value=p_value,
        limit=settings.min_effect,
    )


def _least_unseen(before: CategoryProfile, now: CategoryProfile) -> int:
    """Return how many rows certainly have a word that was not there before."""
    most = MostRows(before)
    fresh = [word for word in now.top if most.of(word.hash) == 0]
    count = sum(word.n_rows for word in fresh)
    if not before.is_listed:
        rest = np.array(now.buckets)
        for word in now.top:
            rest[word.hash % N_BUCKETS] -= word.n_rows
        count += int(np.maximum(rest, 0)[np.array(before.buckets) == 0].sum())
    return count


def _come_and_gone(
    before: CategoryProfile, now: CategoryProfile, factors: NoiseFactors, settings: DriftSettings
) -> Shift | None:
    sizes = before.n_rows - before.n_null, now.n_rows - now.n_null
    if not (sizes[0] and sizes[1]):
        return None
    n = sizes[0] / factors.before, sizes[1] / factors.now
    n_words = len(before.top) + len(now.top)
    parts: list[str] = []
    moved: list[float] = [0.0]
    p_value = 1.0
    for here, there, i, verb in ((now, before, 1, "new"), (before, now, 0, "gone")):
        most, total, words = MostRows(there), 0.0, list[str]()
        for word in here.top:
            share, other = word.n_rows / sizes[i], most.of(word.hash) / sizes[1 - i]
            if other > _AS_GOOD_AS_GONE * share:
                continue
            chance = n_words * shares_tail(share * n[i], n[i], other * n[1 - i], n[1 - i])
            p_value = min(p_value, chance)
            if chance <= _NAMED_ALPHA:
                total += share
                words.append(repr(word.word))
        if words:
            some = ", ".join(words[:3]) + (", …" if len(words) > 3 else "")
            parts.append(f"{verb}: {some} ({percent(total)} of rows)")
            moved.append(total)
    return Shift(
        aspect="categories",
        story="; ".join(parts) or "no frequent word is new or gone",
        statistic=max(moved),
        noise=0.0,
        effect=max(moved),
        p_value=p_value,
        limit=settings.min_effect,
    )


def percent(share: float) -> str:
    """Return a share in percent.

    >>> percent(0.3141), percent(0.0216), percent(0.00001), percent(0)
    ('31 %', '2.2 %', '<0.1 %', '0 %')
    """
    percent = 100 * share
    if 0 < percent < 0.1:
        return "<0.1 %"
    return f"{percent:.0f} %" if percent >= 10 or percent == 0 else f"{percent:.1f} %"


def _number_text(number: float) -> str:
    return f"{number:.4g}".replace("-", "−")


def _time_text(microseconds: float) -> str:
    """Return a time, to the minute; what no calendar holds as it is."""
    try:
        return f"{EPOCH + timedelta(microseconds=microseconds):%Y-%m-%d %H:%M}"
    except OverflowError:
        return f"{microseconds:.4g} µs"
