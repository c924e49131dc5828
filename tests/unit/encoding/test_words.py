"""Words are numbered as a dict would number them, whatever they come wrapped in."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.encoding import words as module
from pipeline_lib.encoding.words import WordNumbers, WordTable, count_words, digest_of_words

INDEX_TYPES = [pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.int64()]
TEXTS = [pa.string(), pa.large_string(), pa.string_view()]
words = st.sampled_from(["", " ", "nan", "None", "é", "e\u0301", "👍", "a", "b", "c"]) | st.text(
    max_size=3
)
Values = list[str | None]


@st.composite
def dictionaries(draw: st.DrawFn) -> pa.DictionaryArray:
    """Draw a dictionary as anybody may write it: repeated words, nulls inside, a slice of it."""
    inside = draw(st.lists(st.none() | words, max_size=6))
    places = st.none() | st.integers(0, len(inside) - 1) if inside else st.none()
    indices = draw(st.lists(places, max_size=8))
    array = pa.DictionaryArray.from_arrays(
        pa.array(indices, draw(st.sampled_from(INDEX_TYPES))),
        pa.array(inside, draw(st.sampled_from(TEXTS[:2]))),
    )
    start = draw(st.integers(0, len(indices)))
    return array.slice(start, draw(st.integers(0, len(indices))))


@st.composite
def plain(draw: st.DrawFn) -> pa.Array:
    """Draw an array of text, maybe a slice of one."""
    values = draw(st.lists(st.none() | words, max_size=8))
    return pa.array(values, draw(st.sampled_from(TEXTS))).slice(draw(st.integers(0, len(values))))


@st.composite
def chunked(draw: st.DrawFn) -> pa.ChunkedArray:
    """Draw chunks of one type, dictionaries of different words among them."""
    arrays = draw(st.lists(dictionaries() | plain(), max_size=4))
    kind = arrays[0].type if arrays else pa.string()
    return pa.chunked_array([array for array in arrays if array.type == kind], kind)


batches = st.lists(dictionaries() | plain() | chunked(), max_size=6)


def _text(values: pa.Array | pa.ChunkedArray) -> Values:
    return values.to_pylist()


def _numbered(
    table: WordTable, all_batches: list[pa.Array], numbers: list[WordNumbers]
) -> list[Values]:
    """Number batches and say which word each row has by its number."""
    own = [table.add(batch) for batch in all_batches]
    table.finish()
    by_number = [None, *table.words.to_pylist()]
    return [
        [by_number[n] for n in common[mine].tolist()]
        for common, mine in zip(numbers, own, strict=True)
    ]


@pytest.mark.parametrize("min_pending", [1, 3, 65_536])
@given(batches)
def test_every_row_has_the_number_of_its_word_in_any_sequence_of_batches(
    monkeypatch: pytest.MonkeyPatch, min_pending: int, drawn: list[pa.Array]
) -> None:
    monkeypatch.setattr(module, "_MIN_PENDING", min_pending)
    numbers: list[WordNumbers] = []
    table = WordTable(numbers.append)

    found = _numbered(table, drawn, numbers)

    assert found == [_text(batch) for batch in drawn]
    known = table.words.to_pylist()
    assert len(set(known)) == len(known) == len(table)
    assert None not in known


@given(st.lists(plain(), max_size=6))
def test_words_are_numbered_in_the_order_in_which_they_came(drawn: list[pa.Array]) -> None:
    table = WordTable()

    for batch in drawn:
        table.add(batch)
    table.finish()

    model = dict.fromkeys(word for batch in drawn for word in _text(batch) if word is not None)
    assert table.words.to_pylist() == list(model)


@pytest.mark.parametrize("index_type", INDEX_TYPES, ids=str)
def test_the_last_word_of_a_full_dictionary_keeps_its_number(index_type: pa.DataType) -> None:
    n_words = 2 ** min(index_type.bit_width - pa.types.is_signed_integer(index_type), 8)
    known = [f"w{i}" for i in range(n_words)]
    full = pa.DictionaryArray.from_arrays(
        pa.array([n_words - 1, None, 0], index_type), pa.array(known)
    )
    numbers: list[WordNumbers] = []

    found = _numbered(WordTable(numbers.append), [full], numbers)

    assert found == [[known[-1], None, known[0]]]


def test_dictionaries_with_more_words_together_than_their_index_holds_are_numbered() -> None:
    chunks = [
        pa.DictionaryArray.from_arrays(
            pa.array(range(100), pa.int8()), pa.array([f"{chunk}-{i}" for i in range(100)])
        )
        for chunk in range(3)
    ]

    known, counts = count_words(pa.chunked_array(chunks))

    assert known.to_pylist() == [f"{chunk}-{i}" for chunk in range(3) for i in range(100)]
    assert counts.tolist() == [0, *[1] * 300]


@given(st.integers(1, 9), st.lists(st.lists(words, max_size=9), max_size=9))
def test_every_batch_gets_its_numbers_once_and_in_order_however_often_is_merged(
    min_pending: int, drawn: list[list[str]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MIN_PENDING", min_pending)
        numbers: list[WordNumbers] = []
        table = WordTable(numbers.append)
        for batch in drawn:
            table.add(pa.array(batch, pa.string()))
        table.finish()
        table.finish()

    assert [len(given) - 1 for given in numbers] == [len(set(batch)) for batch in drawn]


def test_a_table_is_merged_a_few_times_however_many_batches_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_MIN_PENDING", 64)
    merges = 0
    before = 0

    def note(_: WordNumbers) -> None:
        nonlocal merges, before
        merges += len(table) != before
        before = len(table)

    table = WordTable(note)

    for batch in range(1000):
        table.add(pa.array([f"{batch}-{i}" for i in range(16)]))
    table.finish()

    # 16,000 different words; each merge at least doubles the table.
    assert len(table) == 16_000
    assert merges <= 10


@given(chunked() | plain().map(lambda array: pa.chunked_array([array])))
def test_words_are_counted_as_a_counter_would(values: pa.ChunkedArray) -> None:
    known, counts = count_words(values)

    model = Counter(_text(values))
    named = dict(zip([None, *known.to_pylist()], counts.tolist(), strict=True))
    assert {word: n for word, n in named.items() if n} == dict(model)


@given(st.lists(words, max_size=8), st.lists(words, max_size=8), st.integers(0, 3))
def test_digests_of_words_are_equal_for_equal_words_alone(
    one: list[str], other: list[str], n_before: int
) -> None:
    a, b = pa.array(one, pa.string()), pa.array(other, pa.string())
    sliced = pa.array([*["x"] * n_before, *one], pa.string()).slice(n_before)

    assert (digest_of_words(a) == digest_of_words(b)) is (one == other)
    assert digest_of_words(sliced) == digest_of_words(a)


@pytest.mark.parametrize(
    ("n_words", "dtype"), [(255, np.uint8), (256, np.uint16), (65_536, np.uint32)]
)
def test_a_batchs_own_numbers_are_as_narrow_as_its_words_allow(
    n_words: int, dtype: type[np.unsignedinteger]
) -> None:
    values = pa.array([None, *(f"w{i}" for i in range(n_words))])

    own = WordTable().add(values)

    assert own.dtype == dtype
    assert own.tolist() == list(range(n_words + 1))
