"""What kind of prediction a target asks for, or why it cannot be learned."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline_lib.config.data import Task
from pipeline_lib.errors import DataError
from pipeline_lib.proposal.column_facts import IS_NUMBER, ColumnFacts
from pipeline_lib.proposal.columns import (
    propose_column,
    shown_number,
    sorted_words,
    written_numbers,
)
from pipeline_lib.proposal.date_formats import find_date_format
from pipeline_lib.wording import examples, rows_that

_MAX_CLASSES = 100
_MAX_NUMBER_CLASSES = 10
_LEAST_PER_CLASS = 3
# Of an exponential distribution it is 2, of a normal one 0.
_LEAST_SKEWNESS = 1.0
# Most rows that may be quarantined, of all: what the proposed quarantine holds.
_MAX_ASIDE = 0.01
_POSITIVE = frozenset({"true", "t", "yes", "y", "1", "positive", "pos"})


@dataclass(frozen=True)
class ProposedTarget:
    """A task, its classes in the order of reports, and what was seen.

    `aside` says which rows cannot be learned and go into quarantine, or is empty; `skew` what
    speaks for the log scale of a number, or is empty.
    """

    task: Task
    classes: tuple[str, ...] | None
    reason: str
    aside: str = ""
    skew: str = ""


def propose_target(facts: ColumnFacts) -> ProposedTarget:
    """Propose a task for the column to predict.

    Raises:
        DataError: nothing can be learned of it; the message says why and what to do.
    """
    _refuse_useless(facts)
    numbers, unlabelled = facts.different_numbers, facts.n_rows - facts.n_known
    aside = [f"{unlabelled:,} of {facts.n_rows:,} rows have no value"] if unlabelled else []
    n_different = facts.n_different
    if numbers is not None and (n_different > _MAX_NUMBER_CLASSES or not facts.is_whole):
        _refuse_names(facts)
        low, high = shown_number(float(numbers.min())), shown_number(float(numbers.max()))
        reason = f"{n_different:,} different numbers from {low} to {high}"
        return ProposedTarget("regression", None, reason, "; ".join(aside), _skew(facts))
    if numbers is None:
        _refuse_what_is_no_class(facts)
    counts = dict(zip(facts.words.to_pylist(), facts.counted[1].tolist(), strict=True))
    poor = {word: n for word, n in counts.items() if n < _LEAST_PER_CLASS}
    n_poor, classes = sum(poor.values()), [w for w in sorted_words(facts) if w not in poor]
    if poor:
        if len(classes) < 2 or not _fits_quarantine(unlabelled + n_poor, facts):
            raise _refused(
                facts,
                f"{len(poor)} of its {n_different} classes have fewer than {_LEAST_PER_CLASS} "
                f"rows, as {examples(sorted(poor))}: train, val and test need one "
                "each. Merge them with others in the source, or leave their rows out",
            )
        rows = "row" if n_poor == 1 else "rows"
        aside.append(f"{n_poor} {rows} of classes that are too rare, {examples(sorted(poor))}")
    said = "; ".join(aside)
    if len(classes) == 2:
        classes.sort(key=lambda word: (word.strip().casefold() in _POSITIVE, -counts[word]))
        share = counts[classes[1]] / facts.n_rows
        reason = f"{classes[1]!r} is the positive class, in {share:.1%} of the rows"
        return ProposedTarget("binary", tuple(classes), reason, said)
    rarest = min(counts[word] for word in classes)
    reason = f"{len(classes)} classes, the rarest in {rows_that(rarest)}"
    if numbers is not None:
        reason += "; if they are amounts, say `task: regression` and drop `classes`"
    return ProposedTarget("multiclass", tuple(classes), reason, said)


def _skew(facts: ColumnFacts) -> str:
    """Return what speaks for the log scale of a target; empty if nothing does."""
    numbers = facts.numbers
    assert numbers is not None
    known = numbers[~np.isnan(numbers)]
    if known.min() <= 0:
        return ""
    shares = known / known.max()  # cubes of large numbers need not be finite
    deviation = float(shares.std())
    skewness = float(np.mean((shares - shares.mean()) ** 3)) / deviation**3 if deviation else 0.0
    if skewness < _LEAST_SKEWNESS:
        return ""
    return f"all above 0 with skewness {skewness:.1f}: the validation rows choose linear or log"


def _fits_quarantine(n_rows: int, facts: ColumnFacts) -> bool:
    """Report whether rows are few enough to be quarantined in each run."""
    return n_rows <= facts.n_rows * _MAX_ASIDE


def _refuse_useless(facts: ColumnFacts) -> None:
    kind = facts.values.type
    if facts.n_known == 0:
        raise _refused(facts, "no row has a value")
    if pa.types.is_temporal(kind) or find_date_format(facts) is not None:
        raise _refused(
            facts,
            "it holds dates; predict a number, as the days until then, or a class, as on time "
            "or late",
        )
    if propose_column(facts).column is None:
        raise _refused(facts, f"it has the type {kind}")
    if facts.n_different == 1:
        only = examples(facts.words.to_pylist())
        raise _refused(facts, f"every row that has a value has the same, {only}")
    n_null = facts.n_rows - facts.n_known
    if not _fits_quarantine(n_null, facts):
        raise _refused(
            facts,
            f"{n_null:,} of {facts.n_rows:,} rows have no value, and a row without a label teaches "
            "nothing: leave them out in the source (words such as '?' count as no value)",
        )


def _refuse_names(facts: ColumnFacts) -> None:
    proposed = propose_column(facts)
    if proposed.part in ("id", "counter"):
        raise _refused(facts, f"{proposed.reason}; that is not a quantity to predict")
    if proposed.reason.startswith(("leading zeros", "whole numbers beyond")):
        raise _refused(facts, f"{proposed.reason}: too many classes, and no quantity")


def _refuse_what_is_no_class(facts: ColumnFacts) -> None:
    if (what := written_numbers(facts)) and facts.n_different > _MAX_NUMBER_CLASSES:
        raise _refused(
            facts,
            f"its numbers have {what}, as {examples(facts.few(2))}: write them as plain numbers in "
            "the source",
        )
    share = facts.share_matching(IS_NUMBER) if facts.is_text else 0.0
    if share >= 0.9:
        odd = [word for word in facts.words.to_pylist() if not _is_number(word)]
        raise _refused(
            facts,
            f"{share:.1%} of its rows hold numbers, the rest words such as {examples(odd[:3])}: "
            "mend them, or leave those rows out in the source",
        )
    n_different = facts.n_different
    if n_different > _MAX_CLASSES or n_different > facts.n_rows / _LEAST_PER_CLASS:
        raise _refused(
            facts,
            f"{n_different:,} different texts in {facts.n_rows:,} rows name or describe rows, they "
            f"are too many to be classes (at most {_MAX_CLASSES}), such as {examples(facts.few())}",
        )


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _refused(facts: ColumnFacts, why: str) -> DataError:
    return DataError(f"column {facts.name!r} cannot be predicted: {why}")
