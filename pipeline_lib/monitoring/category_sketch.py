"""A bounded summary of a column of words: how many, the frequent ones, the rare ones, the unseen.

Source: Bar-Yossef et al. 2002, "Counting distinct elements in a data stream" (the smallest hashes).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline_lib.data.arrow import different
from pipeline_lib.data.hashing import hash_text
from pipeline_lib.monitoring.counts import N_CLASSES, NO_CLASS, PAGE_ROWS, Counts, Ints, UInts
from pipeline_lib.shown import hashed

N_BUCKETS = 256
N_RARE = 10
N_TOP = 50
MAX_WORDS = 2**20

_WORD_CHARS = 40
_N_OWN_CLASS = 6
_MAX_HEAVY = 4096
_HEAVY_ROWS = PAGE_ROWS // 1000


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
        hidden: whether words are kept as their hashes.
    """

    def __init__(self, known: pa.Array | None, *, hidden: bool = False) -> None:
        self._hidden = hidden
        self._table = Counts()
        self._below = 1.0
        self._texts: dict[int, str] = {}
        self._known = None if known is None else np.sort(hash_text(known.drop_null()))
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
        dictionary, codes = different(words)
        if not len(dictionary):
            return np.full(len(words), NO_CLASS, np.uint8)
        counts = np.bincount(codes, minlength=len(dictionary) + 1)[: len(dictionary)]
        hashes = hash_text(dictionary)
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
        new = dict(zip(fresh.tolist(), map(self._text, texts), strict=True))
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
            word = self._text(dictionary[int(by_hash[i])].as_py())
            if word not in self.unseen_examples:
                self.unseen_examples.append(word)

    def _text(self, word: str) -> str:
        return hashed(word) or "" if self._hidden else word[:_WORD_CHARS]

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
