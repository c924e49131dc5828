"""What a night changed in the ledger, told in a line, whatever the size of the data."""

import json
from collections.abc import Mapping
from dataclasses import asdict

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config.columns import CategoryColumn, Column, EncodingSettings
from pipeline_lib.encoding import Encoder, Vocabulary
from pipeline_lib.encoding.encoder import CountedWords
from pipeline_lib.encoding.ledger import LedgerChange, Words, ledger_changes
from pipeline_lib.encoding.words import count_words

COLUMNS: dict[str, Column] = {"color": CategoryColumn(), "shape": CategoryColumn()}
some = st.lists(st.text(max_size=5), max_size=6).map(tuple)
some_words = st.builds(Words, st.integers(0, 10**9), some)


def _night(
    color: list[str | None],
    ledger: Mapping[str, Vocabulary] | None = None,
    encoding: EncodingSettings | None = None,
) -> tuple[tuple[LedgerChange, ...], Mapping[str, Vocabulary]]:
    """Fit one night, with a second column in which nothing ever happens after the first."""
    rows = pa.table(
        {
            "color": pa.array(color, pa.string()),
            "shape": pa.array(["round"] * len(color), pa.string()),
        }
    )
    encoder = Encoder.fit(rows, COLUMNS, today="2026-01-01", encoding=encoding, ledger=ledger)
    train = {name: CountedWords(*count_words(rows[name])) for name in COLUMNS}
    codes = {
        name: vocabulary.codes_of(train[name].words)
        for name, vocabulary in encoder.vocabularies.items()
    }
    return ledger_changes(ledger or {}, encoder, train, codes), encoder.vocabularies


def test_new_silent_and_returning_categories_are_told_by_name() -> None:
    _, first = _night(["red", "blue"])
    _, second = _night(["red", "green", "red"], first)

    changes, _ = _night(["blue", "green", "teal"], second)

    assert [str(change) for change in changes] == [
        "1 new ('teal'), 1 no longer seen ('red'), 1 seen again ('blue')"
    ]
    assert [change.column for change in changes] == ["color"]


def test_a_night_like_the_last_one_changes_nothing() -> None:
    _, ledger = _night(["red", "blue", None])

    changes, _ = _night(["blue", "red", "red"], ledger)

    assert changes == ()


def test_a_category_that_stays_quiet_is_told_once() -> None:
    _, first = _night(["red", "blue"])
    told, second = _night(["red"], first)

    again, _ = _night(["red"], second)

    assert [change.quiet for change in told] == [Words(1, ("blue",))]
    assert again == ()


def test_rare_words_are_counted_with_their_rows_those_with_a_code_too() -> None:
    _, ledger = _night(["red"] * 3 + ["blue"] * 3)
    rows: list[str | None] = ["red"] * 3 + ["blue"] * 2 + ["teal", "pink", None]

    changes, _ = _night(rows, ledger, EncodingSettings(min_count=3))

    (change,) = changes
    assert (change.n_rare, change.n_rare_rows) == (3, 4)
    assert str(change) == "3 rare, whose 4 rows count as unseen"


def test_words_beyond_max_size_count_as_rare() -> None:
    rows: list[str | None] = ["red"] * 5 + ["blue"] * 4 + ["teal"] * 3

    changes, _ = _night(rows, None, EncodingSettings(max_size=2))

    assert [str(change) for change in changes] == [
        "2 new ('blue', 'red'), 1 rare, whose 3 rows count as unseen",
        "1 new ('round')",
    ]


def test_ten_thousand_new_words_make_a_short_text_and_a_short_record() -> None:
    changes, _ = _night([f"{'long ' * 20}{i:05}" for i in range(10_000)])

    text, record = str(changes[0]), json.dumps(asdict(changes[0]))

    assert text.startswith("10,000 new (")
    assert text.count("long long") <= 5 * 20
    assert text.endswith(", …)")
    assert len(text) < 500
    assert len(record) < 2_000


def test_exactly_five_new_words_are_all_of_them() -> None:
    changes, _ = _night([*"abcde"])

    assert str(changes[0]) == "5 new ('a', 'b', 'c', 'd', 'e')"


@given(
    st.builds(
        LedgerChange,
        st.text(),
        some_words,
        some_words,
        some_words,
        st.integers(0, 10**12),
        st.integers(0, 10**12),
    )
)
def test_a_change_survives_json(change: LedgerChange) -> None:
    text = json.dumps(asdict(change))

    assert LedgerChange.from_json(json.loads(text)) == change


@pytest.mark.parametrize(
    "change",
    [
        LedgerChange("x", new=Words(1, ("a",))),
        LedgerChange("x", quiet=Words(1, ("a",))),
        LedgerChange("x", back=Words(1, ("a",))),
        LedgerChange("x", n_rare=1, n_rare_rows=1),
    ],
)
def test_a_change_of_any_kind_is_worth_telling(change: LedgerChange) -> None:
    assert change
    assert str(change)
    assert not LedgerChange("x")
