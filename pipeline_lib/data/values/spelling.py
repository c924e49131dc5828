"""Other spellings of a typed value among words that are known already, as of a ledger.

Yesterday's CSV wrote `True`, `2.0` or `2024-01-05 00:00:00`; today the same value comes typed
and would be written `true`, `2`, `2024-01-05T00:00:00`. Where the known words hold exactly one
spelling of it, that word is taken. Text is never looked up here: it is itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.data.values.datetimes import read_times
from pipeline_lib.data.values.patterns import DAY, HAS_ZONE
from pipeline_lib.data.values.written import decimal_text, iso

_PLAIN = r"^(0|-?[1-9]\d*|true|false)$"
_WHOLE = r"^(?:\+|(-))?0*(\d+)(?:\.0*)?$"
_EXPONENT = r"^[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+$"
_BOOLEAN = r"(?i)^(true|false)$"
_TIME = rf"^{DAY}"
_MIDNIGHT = rf"^{DAY}T00:00:00$"
_DATE_CHARACTERS = 10
_MAX_DIGITS = 38


@dataclass(frozen=True, eq=False)
class KnownWords:
    """Different words without a null, in which typed values are looked up."""

    words: pa.Array

    @property
    def spellings(self) -> Mapping[str, str]:
        """The known word that is taken for a typed value, by how the value would be written."""
        keys, words = self._others
        return dict(zip(keys.to_pylist(), words.to_pylist(), strict=True))

    def spelled(self, typed: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return typed values in the spelling of the known words.

        Args:
            typed: values as `data.written` writes them, of type string.
        """
        keys, words = self._others
        if not len(keys):
            return typed
        chunks: list[pa.Array] = []
        for chunk in typed.chunks:
            encoded = chunk.dictionary_encode()
            places = pc.index_in(encoded.dictionary, value_set=keys)
            chosen = pc.coalesce(words.take(places), encoded.dictionary)
            chunks.append(chosen.take(encoded.indices))
        return pa.chunked_array(chunks, pa.string())

    @cached_property
    def _others(self) -> tuple[pa.Array, pa.Array]:
        """Return typed values as they are written, none of them known, and the word of each."""
        # What is written as a typed value is written stands for itself.
        words = self.words.filter(pc.invert(pc.match_substring_regex(self.words, _PLAIN)))
        meant = meaning(words)
        is_one = pc.is_valid(meant)
        words, meant = words.filter(is_one), meant.filter(is_one)
        counted = meant.value_counts()
        once = counted.field("values").filter(pc.equal(counted.field("counts"), 1))
        is_one = pc.is_in(meant, value_set=once)
        words, meant = words.filter(is_one), meant.filter(is_one)
        # Midnight is how a date is written where times are typed, and the other way round.
        midnight = pc.match_substring_regex(meant, _MIDNIGHT)
        dates = pc.utf8_slice_codeunits(meant.filter(midnight), 0, _DATE_CHARACTERS)
        keys = pa.concat_arrays([meant, dates])
        words = pa.concat_arrays([words, words.filter(midnight)])
        is_new = pc.invert(pc.is_in(keys, value_set=self.words))
        return keys.filter(is_new), words.filter(is_new)


def meaning(words: pa.Array) -> pa.Array:
    """Return the typed value that each text may stand for, as it is written; null for none.

    A date counts as its midnight; what has no zone is another thing than what has one.

    >>> meaning(pa.array(["True", "007", "1e3", "2024-01-05", "one"])).to_pylist()
    ['true', '7', '1000', '2024-01-05T00:00:00', None]
    """
    text = pc.utf8_trim_whitespace(words)
    nothing = pa.scalar(None, pa.string())
    found = pc.if_else(pc.match_substring_regex(text, _BOOLEAN), pc.utf8_lower(text), nothing)
    whole = pc.if_else(pc.match_substring_regex(text, _WHOLE), text, nothing)
    digits = pc.replace_substring_regex(whole, pattern=_WHOLE, replacement=r"\1\2")
    found = pc.coalesce(found, pc.if_else(pc.equal(digits, "-0"), "0", digits))
    is_time = pc.match_substring_regex(text, _TIME)
    if pc.any(is_time).as_py():
        found = pc.coalesce(found, _times(pc.if_else(is_time, text, nothing)))
    is_exponent = pc.match_substring_regex(text, _EXPONENT)
    if pc.any(is_exponent).as_py():
        few = [_from_exponent(word) for word in text.filter(is_exponent).to_pylist()]
        found = pc.replace_with_mask(found, is_exponent, pa.array(few, pa.string()))
    return found


def _times(text: pa.Array) -> pa.Array:
    times, _ = read_times(pa.chunked_array([text]), None)
    zoned = pc.match_substring_regex(text, HAS_ZONE)
    return pc.if_else(
        zoned, iso(times, zone="+00:00").combine_chunks(), iso(times).combine_chunks()
    )


def _from_exponent(word: str) -> str | None:
    try:
        number = Decimal(word)
    except InvalidOperation:  # an exponent of 20 digits
        return None
    if not -_MAX_DIGITS <= number.adjusted() < _MAX_DIGITS:
        return None
    text = decimal_text(number)
    return text if text is not None and "." not in text else None
