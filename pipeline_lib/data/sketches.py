"""Bounded summaries of a column, page by page: words, numbers, and how rows hang together.

Nothing here draws at random, and every summary depends on the rows and their order alone, on no
machine, version or batch size. What the summaries say of drift is decided in `drift`.

Sources: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators" (the mixer);
Bar-Yossef et al. 2002, "Counting distinct elements in a data stream" (the smallest hashes);
Shrivastava et al. 2004, "Medians and beyond" (halved intervals, here with exact counts);
von Neumann 1941, "Distribution of the ratio of the mean square successive difference".
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

UInts = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

PAGE_ROWS = 65_536
MAX_WORDS = 2**20
N_BUCKETS = 256
N_RARE = 10
N_TOP = 50
WORD_CHARS = 40
N_CLASSES = 12
NO_CLASS = N_CLASSES

_N_OWN_CLASS = 6
_MAX_HEAVY = 4096
_HEAVY_ROWS = PAGE_ROWS // 1000
_MAX_CELLS = 16_384
_MAX_LEAVES = 512
_LEAF_SHARE = 1 / 200
_VECTOR_BYTES = 256
_BLOCK_ROWS = tuple(64 * 4**power for power in range(6))
_MIN_PAIRS = 6
_SIGN = np.uint64(1 << 63)
_TAIL_MASKS = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)


def mix(x: UInts) -> UInts:
    """Return each number's SplitMix64 output: one bit changed in, about half of them out."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def hash_words(words: pa.Array) -> UInts:
    """Return a 64-bit hash of each word's UTF-8, the same on every machine and for ever.

    Eight bytes at a time go through the mixer; words above 256 bytes go through BLAKE2b, so that
    one long text does not make a step of the loop for each of its eights.

    Args:
        words: of Arrow type string, without nulls; length ``n``.

    Returns:
        Shape ``(n,)``.
    """
    offsets = np.frombuffer(words.buffers()[1], np.int32, len(words) + 1, 4 * words.offset)
    data = words.buffers()[2]
    text = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    text = np.concatenate([text[offsets[0] : offsets[-1]], np.zeros(8, np.uint8)])
    eights = np.ndarray((len(text) - 7,), "<u8", text, strides=(1,))
    start = offsets[:-1].astype(np.int64) - int(offsets[0])
    length = np.diff(offsets).astype(np.int64)
    hashes = mix(length.astype(np.uint64))
    rest = np.flatnonzero((length > 0) & (length <= _VECTOR_BYTES))
    done = 0
    while len(rest):
        chunk = eights[start[rest] + done] & _TAIL_MASKS[np.minimum(length[rest] - done, 8)]
        hashes[rest] = mix(hashes[rest] ^ chunk)
        done += 8
        rest = rest[length[rest] > done]
    for i in np.flatnonzero(length > _VECTOR_BYTES).tolist():
        content = text[start[i] : start[i] + length[i]].tobytes()
        hashes[i] = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest())
    return hashes


class _Counts:
    """Counts by key; keys sorted and different."""

    def __init__(self) -> None:
        self.keys: UInts = np.zeros(0, np.uint64)
        self.counts: Ints = np.zeros(0, np.int64)

    def add(self, keys: UInts, counts: Ints) -> None:
        """Add counts of keys, sorted and different."""
        place = np.searchsorted(self.keys, keys)
        known = self.find(keys, place)
        self.counts[place[known]] += counts[known]
        new = ~known
        if new.any():
            self.keys = np.insert(self.keys, place[new], keys[new])
            self.counts = np.insert(self.counts, place[new], counts[new])

    def find(self, keys: UInts, place: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        """Tell which keys are there, at the places where `searchsorted` wants them."""
        if not len(self.keys):
            return np.zeros(len(keys), np.bool_)
        return self.keys[np.minimum(place, len(self.keys) - 1)] == keys

    def of(self, keys: UInts) -> Ints:
        """Return the count of each key, 0 where it is not there."""
        place = np.searchsorted(self.keys, keys)
        counts = np.zeros(len(keys), np.int64)
        known = self.find(keys, place)
        counts[known] = self.counts[place[known]]
        return counts

    def keep(self, wanted: npt.NDArray[np.bool_]) -> None:
        self.keys, self.counts = self.keys[wanted], self.counts[wanted]


def _grouped(keys: UInts, counts: Ints | None = None) -> tuple[UInts, Ints]:
    """Return the different ones of sorted keys, and how often each stands there."""
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    if counts is None:
        return keys[first], np.diff(first, append=len(keys)).astype(np.int64)
    return keys[first], np.add.reduceat(counts, first)


@dataclass(frozen=True)
class TopWord:
    """A frequent word, cut to 40 characters, with the hash of the whole word."""

    word: str
    hash: int
    n_rows: int


class WordCounter:
    """Counts words exactly while there are at most 2^20 different ones (16 bytes each).

    Above that it keeps the words with the smallest hashes, halving what "small" is, and the
    heaviest 4,096 of all others (later also those with one row in a thousand of a page): the
    number of words and of rare words become estimates (a standard error of about 0.1 %), and the
    count of a word that grew frequent only then misses its first rows. The 256 buckets are exact
    always. Texts are held for the 50 top words only.

    Args:
        known: words of the champion, of type string, to count the rows with any other word.
    """

    def __init__(self, known: pa.Array | None) -> None:
        self._table = _Counts()
        self._below = 1.0
        self._texts: dict[int, str] = {}
        self._known = None if known is None else np.sort(hash_words(known.drop_null()))
        self._own_class: UInts | None = None
        self.buckets: Ints = np.zeros(N_BUCKETS, np.int64)
        self.n_unseen = 0
        self.unseen_examples: list[str] = []

    def add_page(self, words: pa.Array) -> npt.NDArray[np.uint8]:
        """Count a page of words.

        Returns:
            A class per row for `BlockNoise`, `NO_CLASS` where there is no word; shape
            ``(n_rows,)``.
        """
        encoded = words.dictionary_encode()
        dictionary: pa.Array = encoded.dictionary
        if not len(dictionary):
            return np.full(len(words), NO_CLASS, np.uint8)
        codes = encoded.indices.fill_null(len(dictionary)).to_numpy(zero_copy_only=False)
        counts = np.bincount(codes, minlength=len(dictionary) + 1)[: len(dictionary)]
        hashes = hash_words(dictionary)
        by_hash = np.argsort(hashes)
        hashes, counts = hashes[by_hash], counts[by_hash].astype(np.int64)
        bucket = (hashes % np.uint64(N_BUCKETS)).astype(np.int64)
        self.buckets += np.bincount(bucket, counts, N_BUCKETS).astype(np.int64)
        self._count(hashes, counts)
        self._keep_texts(hashes, dictionary, by_hash)
        if self._known is not None:
            self._count_unseen(hashes, counts, dictionary, by_hash)
        classes = np.full(len(dictionary) + 1, NO_CLASS, np.uint8)
        classes[by_hash] = self._classes(hashes, counts)
        return classes[codes]

    def _count(self, hashes: UInts, counts: Ints) -> None:
        if self._below < 1:
            wanted = (self._is_below(hashes)) | (counts >= _HEAVY_ROWS)
            wanted |= self._table.of(hashes) > 0
            hashes, counts = hashes[wanted], counts[wanted]
        self._table.add(hashes, counts)
        if len(self._table.keys) <= MAX_WORDS:
            return
        while np.count_nonzero(self._is_below(self._table.keys)) > MAX_WORDS - 2 * _MAX_HEAVY:
            self._below /= 2
        small = self._is_below(self._table.keys)
        weight = np.where(small, 0, self._table.counts)
        heavy = np.argpartition(weight, -_MAX_HEAVY)[-_MAX_HEAVY:]
        small[heavy] = True
        self._table.keep(small)

    def _is_below(self, hashes: UInts) -> npt.NDArray[np.bool_]:
        if self._below == 1:
            return np.ones(len(hashes), np.bool_)
        return hashes < np.uint64(int(self._below * 2**64))

    def _keep_texts(self, hashes: UInts, dictionary: pa.Array, by_hash: Ints) -> None:
        # A word of the final 50 was among the 50 when its last row came: later rows only lift
        # others. So it is enough to look at the words of each page as it is counted.
        counts = self._table.of(hashes)
        best = hashes[_first(counts, hashes, N_TOP)]
        held = np.fromiter(self._texts, np.uint64, len(self._texts))
        rivals = np.union1d(best, held)
        chosen = rivals[_first(self._table.of(rivals), rivals, N_TOP)]
        fresh = np.setdiff1d(chosen, held)
        places = by_hash[np.searchsorted(hashes, fresh)]
        texts = dictionary.take(pa.array(places, pa.int64())).to_pylist()
        new = dict(zip(fresh.tolist(), (text[:WORD_CHARS] for text in texts), strict=True))
        every = {**self._texts, **new}
        self._texts = {key: every[key] for key in chosen.tolist()}

    def _count_unseen(
        self, hashes: UInts, counts: Ints, dictionary: pa.Array, by_hash: Ints
    ) -> None:
        assert self._known is not None
        place = np.searchsorted(self._known, hashes)
        seen = np.zeros(len(hashes), np.bool_)
        if len(self._known):
            seen = self._known[np.minimum(place, len(self._known) - 1)] == hashes
        self.n_unseen += int(counts[~seen].sum())
        room = 5 - len(self.unseen_examples)
        for i in np.flatnonzero(~seen)[np.argsort(-counts[~seen], kind="stable")][:room].tolist():
            word: str = dictionary[int(by_hash[i])].as_py()[:WORD_CHARS]
            if word not in self.unseen_examples:
                self.unseen_examples.append(word)

    def _classes(self, hashes: UInts, counts: Ints) -> npt.NDArray[np.uint8]:
        if self._own_class is None:
            self._own_class = hashes[_first(counts, hashes, _N_OWN_CLASS)]
        rest = np.uint64(N_CLASSES - _N_OWN_CLASS)
        classes = (_N_OWN_CLASS + (hashes >> np.uint64(32)) % rest).astype(np.uint8)
        for number, own in enumerate(self._own_class):
            classes[hashes == own] = number
        return classes

    @property
    def cardinality(self) -> int:
        """How many different words there were; an estimate if `is_estimate`."""
        return round(np.count_nonzero(self._is_below(self._table.keys)) / self._below)

    @property
    def is_estimate(self) -> bool:
        """Whether there were more than 2^20 different words."""
        return self._below < 1

    def rare(self) -> tuple[int, ...]:
        """Return how many words have 1, 2, … 10 rows."""
        few = self._table.counts[self._is_below(self._table.keys)]
        numbers = np.bincount(few[few <= N_RARE], minlength=N_RARE + 1)[1:]
        return tuple(round(n / self._below) for n in numbers.tolist())

    def top(self) -> tuple[TopWord, ...]:
        """Return the 50 most frequent words, most rows first."""
        hashes = np.fromiter(self._texts, np.uint64, len(self._texts))
        counts = self._table.of(hashes)
        return tuple(
            TopWord(self._texts[int(hashes[i])], int(hashes[i]), int(counts[i]))
            for i in _first(counts, hashes, N_TOP).tolist()
        )


def _first(counts: Ints, hashes: UInts, n: int) -> npt.NDArray[np.intp]:
    """Return where the `n` greatest counts stand; of equal ones the smallest hash comes first."""
    candidates = np.arange(len(counts))
    if len(counts) > n:
        least = np.partition(counts, -n)[-n]
        candidates = np.flatnonzero(counts >= least)
    order = np.lexsort((hashes[candidates], -counts[candidates]))
    return candidates[order[:n]]


@dataclass(frozen=True)
class Leaves:
    """Exact counts on intervals that two profiles can share, however they were made.

    An interval holds every double whose sort key (its bits, turned so that they sort as the
    numbers do) begins with `prefixes[i]` and has `shifts[i]` more bits: any two intervals are
    apart, or one holds the other. Intervals without rows are left out; the others stand in
    ascending order, none with more than a 200th of the rows, if its numbers can be told apart.
    """

    prefixes: tuple[int, ...]
    shifts: tuple[int, ...]
    counts: tuple[int, ...]

    def bounds(self) -> tuple[UInts, UInts]:
        """Return the first and the last key of each interval."""
        shifts = np.array(self.shifts, np.uint64)
        low = np.array(self.prefixes, np.uint64) << shifts
        return low, low + ((np.uint64(1) << shifts) - np.uint64(1))


def keys_of(numbers: Floats) -> UInts:
    """Return sort keys: they are in the order of the finite numbers, and tell any two apart."""
    bits = (numbers + 0.0).view(np.uint64)  # -0.0 becomes 0.0
    return np.where(bits >= _SIGN, ~bits, bits | _SIGN)


def numbers_of(keys: UInts) -> Floats:
    """Return the numbers of sort keys."""
    return np.where(keys >= _SIGN, keys ^ _SIGN, ~keys).view(np.float64)


class NumberCounter:
    """Counts numbers exactly in at most 16,384 cells (16 bytes each), and keeps their moments.

    All numbers whose sort keys agree but for the last few bits share a cell; how many bits is the
    least that keeps to the bound, so it depends on which numbers there are and not on their
    order. Normal numbers end in cells about 0.4 % of their size wide.
    """

    def __init__(self) -> None:
        self._cells = _Counts()
        self._shift = 0
        self._edges: Floats | None = None
        self.n_rows = 0
        self.minimum, self.maximum = np.inf, -np.inf
        self._mean, self._squares = 0.0, 0.0

    def add_page(self, numbers: Floats, valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
        """Count a page of numbers.

        Returns:
            A class per row for `BlockNoise`, `NO_CLASS` where it is not valid; shape
            ``(n_rows,)``.
        """
        classes = np.full(len(numbers), NO_CLASS, np.uint8)
        held = numbers if valid.all() else numbers[valid]
        if not len(held):
            return classes
        self._add_moments(held)
        keys = keys_of(held) >> np.uint64(self._shift)
        keys.sort()
        self._cells.add(*_grouped(keys))
        while len(self._cells.keys) > _MAX_CELLS:
            self._shift += 1
            self._cells.keys, self._cells.counts = _grouped(
                self._cells.keys >> np.uint64(1), self._cells.counts
            )
        if self._edges is None:
            ranks = np.arange(1, N_CLASSES) * len(held) // N_CLASSES
            self._edges = np.unique(numbers_of(keys_of(np.partition(held, ranks)[ranks])))
        own = np.zeros(len(held), np.uint8)
        for edge in self._edges.tolist():
            own += held >= edge
        classes[valid] = own
        return classes

    def _add_moments(self, held: Floats) -> None:
        # Chan, Golub & LeVeque 1979: two groups' moments make the moments of both.
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(held.mean())
            squares = float(np.square(held - mean).sum())
            total = self.n_rows + len(held)
            delta = mean - self._mean
            self._mean += delta * len(held) / total
            self._squares += squares + delta * delta * self.n_rows * len(held) / total
        self.n_rows = total
        self.minimum = min(self.minimum, float(held.min()))
        self.maximum = max(self.maximum, float(held.max()))

    @property
    def mean(self) -> float | None:
        """The mean; None without rows, or where the sum leaves the range of a double."""
        return self._mean if self.n_rows and np.isfinite(self._mean) else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation of the rows; None as `mean`."""
        square = self._squares / max(self.n_rows, 1)
        return float(np.sqrt(square)) if self.n_rows and np.isfinite(square) else None

    def quantiles(self, shares: Sequence[float]) -> tuple[float, ...]:
        """Return the numbers below which these shares of the rows lie, to a cell's width."""
        if not self.n_rows:
            return ()
        ends = np.cumsum(self._cells.counts)
        ranks = np.clip(np.ceil(np.array(shares) * self.n_rows), 1, self.n_rows)
        cell = np.searchsorted(ends, ranks)
        low = self._cells.keys[cell] << np.uint64(self._shift)
        inside = (ranks - (ends - self._cells.counts)[cell]) / (self._cells.counts[cell] + 1)
        width = float((1 << self._shift) - 1)
        values = numbers_of(low + (inside * width).astype(np.uint64))
        values = np.clip(values, self.minimum, self.maximum)
        values[np.array(shares) == 0], values[np.array(shares) == 1] = self.minimum, self.maximum
        return tuple(values.tolist())

    def leaves(self) -> Leaves:
        """Return the cells, gathered into at most 512 intervals."""
        share = _LEAF_SHARE
        while len((leaves := self._gathered(share)).counts) > _MAX_LEAVES:
            share *= 2
        return leaves

    def _gathered(self, share: float) -> Leaves:
        keys, counts = self._cells.keys, self._cells.counts
        shifts = np.full(len(keys), self._shift, np.int64)
        growing = np.arange(len(keys))  # cells whose interval may still grow
        upto = np.concatenate([[0], np.cumsum(counts)])
        for wider in range(1, 64 - self._shift):
            if not len(growing):
                break
            parents = keys[growing] >> np.uint64(wider)
            first = np.flatnonzero(np.concatenate([[True], parents[1:] != parents[:-1]]))
            low = parents[first] << np.uint64(wider)
            begin = np.searchsorted(keys, low)
            end = np.searchsorted(keys, low + np.uint64((1 << wider) - 1), side="right")
            light = upto[end] - upto[begin] <= share * self.n_rows
            growing = growing[np.repeat(light, np.diff(first, append=len(growing)))]
            shifts[growing] = self._shift + wider
        prefixes = keys >> (shifts - self._shift).astype(np.uint64)
        new = np.ones(len(keys), np.bool_)
        new[1:] = (prefixes[1:] != prefixes[:-1]) | (shifts[1:] != shifts[:-1])
        first = np.flatnonzero(new)
        total = np.add.reduceat(counts, first) if len(first) else counts
        return Leaves(
            tuple(prefixes[first].tolist()), tuple(shifts[first].tolist()), tuple(total.tolist())
        )


@dataclass(frozen=True)
class Noise:
    """How much more the counts of neighboring blocks differ than those of independent rows.

    `rows` and `nulls` are ratios of variances, for the values and for whether there is one; 1 or
    less where rows do not hang together at this length.
    """

    block_rows: int
    rows: float
    nulls: float


class BlockNoise:
    """Measures, at lengths of 64 to 65,536 rows, how much rows hang together.

    Neighboring blocks of each length are held against each other, pair after pair, in 12 classes
    of the column. Independent rows give counts that differ as a multinomial's do; hourly values,
    runs and clusters of rows give more. A trend and the order of a sorted table hardly count:
    neighbors are alike there. (Two halves of alternating blocks would be more alike than
    independent samples as soon as rows hang together for longer than a block.)

    Takes 7 KB, however many rows there are.
    """

    def __init__(self) -> None:
        self._products = np.zeros((len(_BLOCK_ROWS), N_CLASSES, N_CLASSES))
        self._n_pairs = [0] * len(_BLOCK_ROWS)
        self._totals = np.zeros(N_CLASSES + 1, np.int64)
        self._waiting: Ints | None = None

    def add_page(self, classes: npt.NDArray[np.uint8]) -> None:
        """Count a page; all but the last one have `PAGE_ROWS` rows."""
        n_blocks = len(classes) // _BLOCK_ROWS[0]
        width = N_CLASSES + 1
        whole = classes[: n_blocks * _BLOCK_ROWS[0]].reshape(n_blocks, _BLOCK_ROWS[0])
        cells = whole + np.arange(n_blocks, dtype=np.int32)[:, None] * np.int32(width)
        flat = np.bincount(cells.ravel(), minlength=n_blocks * width)
        counts = flat.reshape(n_blocks, width)[:, :N_CLASSES]
        self._totals += np.bincount(classes, minlength=width)
        for scale in range(len(_BLOCK_ROWS) - 1):
            self._add_pairs(scale, counts)
            n_wider = len(counts) // 4
            counts = counts[: 4 * n_wider].reshape(n_wider, 4, N_CLASSES).sum(axis=1)
        if len(counts) and self._waiting is not None:
            self._add_pairs(len(_BLOCK_ROWS) - 1, np.concatenate([self._waiting, counts]))
            self._waiting = None
        elif len(counts):
            self._waiting = counts

    def _add_pairs(self, scale: int, counts: Ints) -> None:
        n_pairs = len(counts) // 2
        pairs = counts[: 2 * n_pairs].reshape(n_pairs, 2, N_CLASSES)
        apart = (pairs[:, 0] - pairs[:, 1]).astype(np.float64)
        self._products[scale] += apart.T @ apart
        self._n_pairs[scale] += n_pairs

    def measured(self) -> tuple[Noise, ...]:
        """Return what each length with at least 6 pairs of blocks shows."""
        n_valid, n_rows = int(self._totals[:N_CLASSES].sum()), int(self._totals.sum())
        if not n_valid:
            return ()
        held = self._totals[:N_CLASSES] > 0
        share = self._totals[:N_CLASSES][held] / n_valid
        valid = n_valid / n_rows
        found: list[Noise] = []
        for rows, n_pairs, products in zip(_BLOCK_ROWS, self._n_pairs, self._products, strict=True):
            if n_pairs < _MIN_PAIRS:
                continue
            inner = products[np.ix_(held, held)]
            per_pair = 2.0 * rows * n_pairs
            nulls = _certain(
                inner.sum() / (per_pair * valid * (1 - valid)) if valid < 1 else 1.0, n_pairs
            )
            found.append(Noise(rows, _of_rows(inner / (per_pair * valid), share, n_pairs), nulls))
        return tuple(found)


def _of_rows(products: Floats, share: Floats, n_pairs: int) -> float:
    """Return the ratio for the contrast of classes that varies most, weighed by its variance.

    With M the covariance of neighbors' differences in units of a multinomial's, tr(M²) / tr(M)
    is 1 for independent rows and near the greatest eigenvalue where one slow contrast rules; of
    tr(M²) the part that few pairs alone give is taken off.
    """
    if len(share) < 2:
        return 1.0
    center = np.eye(len(share)) - np.outer(np.ones(len(share)), share)
    scale = 1 / np.sqrt(share)
    spread = scale[:, None] * (center.T @ products @ center) * scale
    trace = float(np.trace(spread))
    if trace <= 0:
        return 0.0
    average = trace / (len(share) - 1)
    greatest = (float(np.sum(spread * spread)) - trace**2 / n_pairs) / trace
    return _certain(max(average, greatest), n_pairs * (len(share) - 1))


def _certain(ratio: float, freedom: int) -> float:
    """Return a ratio of variances less one standard error: noise is no finding."""
    return round(float(max(0.0, ratio * (1 - np.sqrt(2 / freedom)))), 4)
