"""Which columns of words are closed by nature, so that another word can only be a mistake.

Few: a yes and a no, an ordinal scale that is there from end to end, the days of the week, the
months, the quarters. That a column has few words so far closes nothing: a store opens, a month
begins, a product is new.
"""

from collections.abc import Sequence

_LEVELS: tuple[tuple[str, ...], ...] = (
    ("low", "med", "high"),
    ("low", "medium", "high"),
    ("low", "mid", "high"),
    ("low", "moderate", "high"),
    ("low", "normal", "high"),
    ("low", "average", "high"),
)
_ENDS = ("v{}", "very {}", "very_{}", "very-{}")
# Each the lowest first.
_ORDERED: tuple[tuple[str, ...], ...] = (
    ("small", "med", "big"),
    ("small", "medium", "big"),
    ("small", "med", "large"),
    ("small", "medium", "large"),
    ("bad", "average", "good"),
    ("bad", "fair", "good"),
    ("poor", "average", "good"),
    ("poor", "fair", "good"),
    ("poor", "fair", "good", "excellent"),
    ("poor", "fair", "good", "very good", "excellent"),
    ("fair", "good", "very good", "premium", "ideal"),
    ("never", "sometimes", "always"),
    ("never", "rarely", "sometimes", "often", "always"),
    ("strongly disagree", "disagree", "neutral", "agree", "strongly agree"),
    ("negative", "neutral", "positive"),
)
_OTHERS: tuple[tuple[str, ...], ...] = (
    # A yes and a no that `kind: boolean` does not know.
    ("no", "yes"),
    ("off", "on"),
    ("nein", "ja"),
    ("non", "oui"),
    ("no", "si"),
    ("no", "sí"),
    ("não", "sim"),
    ("nee", "ja"),
    ("q1", "q2", "q3", "q4"),
    ("spring", "summer", "autumn", "winter"),
    ("spring", "summer", "fall", "winter"),
)
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september"),
    *("october", "november", "december"),
)


def _orders() -> dict[frozenset[str], tuple[str, ...]]:
    """Return the scales with an order, the lowest word first, by their words."""
    found = list(_ORDERED)
    for levels in _LEVELS:
        low, high = levels[0], levels[-1]
        found.append(levels)
        for end in _ENDS:
            lowest, highest = end.format(low), end.format(high)
            found += [(*levels, highest), (lowest, *levels), (lowest, *levels, highest)]
    return {frozenset(words): words for words in found}


def _scales() -> frozenset[frozenset[str]]:
    found = {frozenset(words) for words in _OTHERS} | set(_ORDERS)
    for names in (_DAYS, _MONTHS):
        found |= {frozenset(names), frozenset(name[:3] for name in names)}
    return frozenset(found)


_ORDERS = _orders()
_SCALES = _scales()
MAX_CLOSED = max(map(len, _SCALES))


def is_closed(words: Sequence[str]) -> bool:
    """Report whether the words are all that there are of something, in any case.

    >>> is_closed(["Low", "High", "Med"]), is_closed(["Low", "High"]), is_closed(["north", "south"])
    (True, False, False)
    """
    folded = frozenset(word.strip().casefold() for word in words)
    return len(folded) == len(words) <= MAX_CLOSED and folded in _SCALES


def ordered(words: Sequence[str]) -> tuple[str, ...]:
    """Return words that are a whole ordinal scale in its order, the lowest first; else none.

    Days, months and seasons have none: what follows the last is the first.

    >>> ordered(["High", "Low", "Med"]), ordered(["spring", "summer", "autumn", "winter"])
    (('Low', 'Med', 'High'), ())
    """
    as_written = {word.strip().casefold(): word for word in words}
    order = _ORDERS.get(frozenset(as_written), ()) if len(as_written) == len(words) else ()
    return tuple(as_written[word] for word in order)
