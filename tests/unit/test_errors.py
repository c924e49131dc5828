"""The tree of deliberate errors: exit codes, bounded messages, nearest names."""

import pytest

from pipeline_lib import errors
from pipeline_lib.errors import ContractError, EvergreenError, UnknownCategoryError, Violation
from pipeline_lib.wording import did_you_mean, examples


@pytest.mark.parametrize(
    ("name", "exit_code"),
    [
        ("EvergreenError", 1),
        ("UsageError", 2),
        ("ConfigError", 2),
        ("DeviceError", 2),
        ("DataError", 3),
        ("SourceError", 3),
        ("SourceNotFoundError", 2),
        ("ContractError", 3),
        ("MissingColumnError", 3),
        ("UnknownCategoryError", 3),
        ("TrainingError", 1),
        ("NonFiniteLossError", 1),
        ("ModelError", 1),
        ("StorageError", 1),
        ("ServerError", 1),
        ("ServerLostError", 1),
    ],
)
def test_every_error_has_the_exit_code_that_the_tree_on_top_of_its_module_names(
    name: str, exit_code: int
) -> None:
    error = getattr(errors, name)

    assert issubclass(error, EvergreenError)
    assert error.exit_code == exit_code
    assert f"{name} " in str(errors.__doc__)


def test_five_examples_are_shown_whole_and_a_sixth_becomes_an_ellipsis() -> None:
    assert examples("abcde") == "'a', 'b', 'c', 'd', 'e'"
    assert examples("abcdef") == "'a', 'b', 'c', 'd', 'e', …"
    assert examples([]) == ""


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("learning_rat", ["learning_rate", "momentum"], "; did you mean learning_rate?"),
        ("income", [" income", "age"], "; did you mean ' income'?"),
        ("INCOME", ["income"], "; did you mean income?"),
        ("xyz", ["income", "age"], ""),
        ("income", [], ""),
    ],
)
def test_the_nearest_name_is_suggested_and_a_far_one_is_not(
    name: str, known: list[str], hint: str
) -> None:
    assert did_you_mean(name, known) == hint


def test_a_contract_broken_by_a_thousand_columns_names_twenty_of_them() -> None:
    violations = [Violation(f"c{n}", "type", 1, "is wrong") for n in range(1000)]

    text = str(ContractError(violations, source="x.csv"))

    assert text.count("is wrong") == 20
    assert "… and 980 more" in text


def test_an_unknown_category_error_keeps_its_data_as_attributes() -> None:
    error = UnknownCategoryError("safety", ["none"], 2, ["high", "low", "med"])

    assert (error.column, error.unknown, error.n_rows) == ("safety", ("none",), 2)
    assert str(error) == (
        "column 'safety' has 1 category unseen in training: 'none' (2 rows). "
        "Known: 'high', 'low', 'med'. "
        "Fix the source, or set `on_unknown: bucket` for this column."
    )
