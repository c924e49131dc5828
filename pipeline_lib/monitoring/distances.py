"""How far two profiles of a column are apart, and how far chance alone would bring them.

Every distance is taken on bins that both profiles count exactly. Chance is that of two
independent samples whose sizes are divided by how much rows hang together (`NoiseFactors`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline_lib.monitoring.category_sketch import N_BUCKETS
from pipeline_lib.monitoring.counts import Floats, UInts
from pipeline_lib.monitoring.design_effect import Noise
from pipeline_lib.monitoring.number_sketch import Leaves
from pipeline_lib.monitoring.profile import CategoryProfile, ColumnProfile

MAX_GROUPS = 32

_MIN_EXPECTED = 10
_LARGE_SHARE = 1 / 32
_STILL_GROWING = 2.0
_KOLMOGOROV_MEAN = math.sqrt(math.pi / 2) * math.log(2)


def shares_tail(before: float, n_before: float, now: float, n_now: float) -> float:
    """Return the chance that two samples of one share differ as much, on one side, or more.

    Chernoff's exponent of both samples against their common share: near Fisher's exact chance at
    small counts, where a normal approximation alarms too soon, and several times it at great ones.
    """
    if not (n_before > 0 and n_now > 0):
        return 1.0
    common = (before + now) / (n_before + n_now)
    exponent = n_before * _divergence(before / n_before, common)
    exponent += n_now * _divergence(now / n_now, common)
    return math.exp(-exponent)


def _divergence(share: float, common: float) -> float:
    """Return Kullback and Leibler's divergence of two coins."""
    total = 0.0
    for p, q in ((share, common), (1 - share, 1 - common)):
        if p > 0:
            total += p * math.log(p / q) if q > 0 else 0.0
    return max(0.0, total)


@dataclass(frozen=True)
class NoiseFactors:
    """By what the variances of both samples exceed those of independent rows; at least 1."""

    before: float
    now: float


def noise_factors(before: ColumnProfile, now: ColumnProfile, *, of_nulls: bool) -> NoiseFactors:
    """Return the factors that both profiles give together.

    A sample too small to show how its rows hang together is taken to be as the other one is at
    lengths up to its size. Where rows hang together for longer than a profile can show, its
    greatest length is taken to be followed by one more that grows as much.
    """

    def factor(own: Sequence[Noise], other: Sequence[Noise], n_rows: int) -> float:
        lent = [noise for i, noise in enumerate(other) if i == 0 or noise.block_rows <= n_rows]
        seen = [1.0, *(noise.nulls if of_nulls else noise.rows for noise in own)]
        growth = seen[-1] / max(seen[-2], 1.0) if own else 1.0
        seen.append(seen[-1] * growth if growth >= _STILL_GROWING else 1.0)
        return max(*seen, *(noise.nulls if of_nulls else noise.rows for noise in lent))

    return NoiseFactors(
        factor(before.noise, now.noise, before.n_rows),
        factor(now.noise, before.noise, now.n_rows),
    )


@dataclass(frozen=True)
class Distance:
    """How far two distributions are apart.

    `moved` is the share of rows that would have to move (total variation) as it is counted,
    `noise` what independent samples of these sizes show of it without any drift, and `effect` the
    distance less that noise. `p_value` is the chance of the test statistics without drift.
    """

    moved: float
    noise: float
    effect: float
    p_value: float


@dataclass(frozen=True)
class Bins:
    """Counts of two profiles on common bins, shape ``(n_bins,)`` each.

    Attributes:
        labels: a word's text, or "" for bins that hold more words; empty for numbers.
        low, high: the sort keys that bound a bin of numbers; empty for words.
    """

    before: Floats
    now: Floats
    labels: tuple[str, ...]
    low: UInts
    high: UInts


def number_bins(before: Leaves, now: Leaves) -> Bins:
    """Return the finest intervals that both profiles count exactly, in ascending order."""
    pairs = [before.bounds(), now.bounds()]
    low = np.concatenate([pair[0] for pair in pairs])
    high = np.concatenate([pair[1] for pair in pairs])
    order = np.lexsort((~high, low))  # of two that begin together the wider one comes first
    low, high = low[order], high[order]
    reached = np.maximum.accumulate(high)
    outer = np.concatenate([[True], low[1:] > reached[:-1]])[: len(low)]
    low, high = low[outer], high[outer]
    counts = [
        np.bincount(
            np.searchsorted(low, start, side="right") - 1,
            np.array(leaves.counts, np.float64),
            len(low),
        ).astype(np.float64)
        for leaves, (start, _) in zip((before, now), pairs, strict=True)
    ]
    return Bins(counts[0], counts[1], (), low, high)


class MostRows:
    """Gives the most rows that a word can have in a profile: exact for top words."""

    def __init__(self, profile: CategoryProfile) -> None:
        self._listed = {word.hash: word.n_rows for word in profile.top}
        self._others = np.array(profile.buckets)
        for key, n_rows in self._listed.items():
            self._others[key % N_BUCKETS] -= n_rows
        is_exact = not profile.cardinality_is_estimate
        least = min(self._listed.values(), default=0)
        self._limit = 0 if profile.is_listed else least if is_exact else profile.n_rows

    def of(self, key: int) -> int:
        """Return the count of a word's hash where it is known, else what it cannot exceed."""
        if key in self._listed:
            return self._listed[key]
        return max(0, min(self._limit, int(self._others[key % N_BUCKETS])))


def word_bins(before: CategoryProfile, now: CategoryProfile) -> Bins:
    """Return a bin for each large word, and 256 for the hashes of all others.

    If both profiles list all their words, each has its bin. Otherwise those do that have 1 row in
    32 of both profiles together: a word is not chosen because it came up in the smaller sample
    (measured: that makes 1 independent run in 70 an alarm). Words of one bucket can stand in
    for one another unseen, so that distances are never too large.
    """
    words = {w.hash: w.word for w in (*before.top, *now.top)}
    most = MostRows(before), MostRows(now)
    least = 0.0 if before.is_listed and now.is_listed else _LARGE_SHARE
    least *= sum(before.buckets) + sum(now.buckets)
    large = sorted(key for key in words if most[0].of(key) + most[1].of(key) >= least)
    place = [key % N_BUCKETS for key in large]
    columns: list[Floats] = []
    for profile, rows in zip((before, now), most, strict=True):
        counts, rest = np.array([rows.of(key) for key in large]), np.array(profile.buckets)
        np.subtract.at(rest, place, counts.astype(np.int64))
        columns.append(np.concatenate([counts, np.maximum(rest, 0)]).astype(np.float64))
    labels = (*(words[key] for key in large), *("" for _ in range(N_BUCKETS)))
    none = np.zeros(0, np.uint64)
    return Bins(columns[0], columns[1], labels, none, none)


def distance(bins: Bins, factors: NoiseFactors) -> Distance:
    """Return how far two distributions are apart, and what chance has to do with it.

    The test is Pearson's chi-square on groups of bins with at least 10 expected rows each in
    either sample, at most 32 groups for numbers; for numbers Kolmogorov and Smirnov's greatest
    difference as well, since it sees small shifts of everything sooner. Nothing is tested if a
    side is empty.
    """
    n_before, n_now = bins.before.sum() / factors.before, bins.now.sum() / factors.now
    if not (n_before > 0 and n_now > 0):
        return Distance(0.0, 0.0, 0.0, 1.0)
    n, least = 1 / (1 / n_before + 1 / n_now), _MIN_EXPECTED / min(n_before, n_now)
    before, now = bins.before / bins.before.sum(), bins.now / bins.now.sum()
    common = (before * n_before + now * n_now) / (n_before + n_now)
    # Tested on groups made by the rows of both together: made by the mean of both shares, they
    # would pick out the small sample's peaks (measured: 7 % of independent runs at 1 : 20).
    p_value = _pearson_tail(before, now, common, n, group_bins(common, least, bins))
    group = group_bins((before + now) / 2, least, bins)
    before, now, common = (summed(group, share) for share in (before, now, common))
    moved = float(np.abs(before - now).sum() / 2)
    noise = float(np.sqrt(2 * common * np.maximum(1 - common, 0) / (math.pi * n)).sum() / 2)
    effect = _less(moved, noise)
    if not bins.labels:
        from scipy.special import kolmogorov

        gap = np.cumsum(bins.before) / bins.before.sum() - np.cumsum(bins.now) / bins.now.sum()
        greatest = float(np.abs(gap).max())
        tail = float(kolmogorov(greatest * math.sqrt(n)))
        p_value = min(1.0, 2 * min(p_value, tail))
        effect = max(effect, _less(greatest, _KOLMOGOROV_MEAN / math.sqrt(n)))
        moved = max(moved, greatest)
    return Distance(moved, min(noise, 1.0), effect, p_value)


def _pearson_tail(
    before: Floats, now: Floats, common: Floats, n: float, group: npt.NDArray[np.intp]
) -> float:
    before, now, common = (summed(group, share) for share in (before, now, common))
    if len(before) < 2:
        return 1.0
    from scipy.special import chdtrc

    square = float(n * (np.square(before - now) / common).sum())
    return float(chdtrc(len(common) - 1, square))


def summed(group: npt.NDArray[np.intp], share: Floats) -> Floats:
    """Return the sum of each group, shape ``(n_groups,)``."""
    return np.bincount(group, share).astype(np.float64)


def _less(moved: float, noise: float) -> float:
    """Return a distance less its noise, as if they added up like the sides of a right angle.

    That is between the cases: drift of few bins adds its noise whole, drift of all hardly any.
    """
    return math.sqrt(max(0.0, moved**2 - noise**2))


def group_bins(share: Floats, least: float, bins: Bins) -> npt.NDArray[np.intp]:
    """Return the group of each bin such that each group has at least the share `least`.

    Of numbers neighbors go together. Words large enough stay alone and the others go together in
    the order of their bins, which is that of their hashes.
    """
    group = np.zeros(len(share), np.intp)
    if bins.labels:
        alone = np.flatnonzero(share >= least)
        group[alone] = np.arange(len(alone))
        gathered, n_groups = np.flatnonzero(share < least), len(alone)
    else:
        gathered, n_groups = np.arange(len(share)), 0
        least = max(least, 1 / MAX_GROUPS)
    left = float(share[gathered].sum())
    held = 0.0
    for i, mass in zip(gathered.tolist(), share[gathered].tolist(), strict=True):
        # The last group takes what would be too little for one more.
        if held >= least and left >= least:
            n_groups, held = n_groups + 1, 0.0
        group[i] = n_groups
        held, left = held + mass, left - mass
    if len(gathered) and n_groups and held < least:
        group[group == n_groups] = int(np.argmin(summed(group, share)[:n_groups]))
    return group
