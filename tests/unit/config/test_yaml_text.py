"""Keys and words of a config mean what stands in the file, whatever YAML would make of them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline_lib.config import PipelineConfig, load_config
from pipeline_lib.config.columns import BooleanColumn, CategoryColumn
from pipeline_lib.config.load import config_yaml
from pipeline_lib.config.sources import CsvFile
from pipeline_lib.config.training import CrossEntropy
from pipeline_lib.config.yaml_text import Scalar, YamlTextError, read_yaml_text
from pipeline_lib.proposal.config_yaml import scalar
from tests.unit.config.toy import TEXT, problems_of, write

MakeConfig = Callable[..., PipelineConfig]

# What YAML 1.1 or 1.2 takes for something else than text.
TYPED = [
    *("001", "007", "1", "0", "-0", "+1", "1_000", "0x10", "0o17", "0b1", "1e3", "1E3", "1.0"),
    *("1.", ".5", ".inf", "-.INF", ".nan", "null", "Null", "~", "true", "True", "FALSE", "yes"),
    *("on", "off", "y", "n", "No", "2026-01-01", "2026-99-99", "2026-01-01T10:00:00Z", "1:30", "="),
]
NOT_NULL = [word for word in TYPED if word not in {"null", "Null", "~"}]


@pytest.mark.parametrize("word", TYPED)
@pytest.mark.parametrize(
    "form", ["{0}: {{kind: category}}", "{0}:\n    kind: category", "? {0}\n  : {{kind: category}}"]
)
def test_a_key_names_the_column_that_it_spells(tmp_path: Path, word: str, form: str) -> None:
    text = TEXT.replace("color: {kind: category}", form.format(word))

    config = load_config(write(tmp_path, text))

    assert list(config.columns) == [word, "size"]


def test_keys_that_yaml_takes_for_one_number_are_columns_of_their_own(tmp_path: Path) -> None:
    names = ["1", "01", "001", "1.0", "0x1", "1e0", "true", "True", "on", "null", "~", "None"]
    columns = "".join(f"  {name}: {{kind: category}}\n" for name in names)
    text = TEXT.replace("  color: {kind: category}\n", columns)

    config = load_config(write(tmp_path, text))

    assert list(config.columns) == [*names, "size"]


def test_quotes_change_no_key(tmp_path: Path) -> None:
    text = TEXT.replace("color: {kind: category}", "1: {kind: hash}\n  '1': {kind: hash}")

    assert problems_of(tmp_path, text) == [
        "toy.yaml:8: is not valid YAML: found duplicate key '1', also in line 7"
    ]


def test_a_boolean_column_is_written_as_the_reference_spells_it(tmp_path: Path) -> None:
    text = TEXT.replace("{kind: category}", "{kind: boolean, true: [ja, 1, on], false: [no, 0]}")

    config = load_config(write(tmp_path, text))

    assert config.columns["color"] == BooleanColumn(true=("ja", "1", "on"), false=("no", "0"))


def test_a_key_of_another_case_is_told_with_the_one_that_is_meant(tmp_path: Path) -> None:
    text = TEXT.replace("{kind: category}", "{kind: boolean, True: [ja]}")

    assert problems_of(tmp_path, text) == [
        "toy.yaml:7: columns.color.True: unknown key; did you mean true?"
    ]


def test_weights_name_classes_as_they_are_written(tmp_path: Path) -> None:
    loss = "  loss: {kind: cross_entropy, class_weights: {true: 3, 01: 1_0, 1e3: 1e1, null: 0x2}}\n"

    config = load_config(write(tmp_path, TEXT + loss))

    assert config.training.loss == CrossEntropy(
        class_weights={"true": 3.0, "01": 10.0, "1e3": 10.0, "null": 2.0}
    )


@pytest.mark.parametrize("word", NOT_NULL)
def test_a_word_is_itself_wherever_a_setting_is_text(tmp_path: Path, word: str) -> None:
    text = (
        TEXT.replace(
            "target: label", f"target: {word}\n  classes: [{word}, other]\n  key: [{word}]"
        )
        .replace("{kind: category}", f"{{kind: category, allowed: [{word}, b]}}")
        .replace("path: toy.csv", f"path: {word}, null_values: [{word}]")
    )
    text += f"tracking: {{tags: {{{word}: {word}}}}}\nsplit: {{kind: group, columns: [{word}]}}\n"

    config = load_config(write(tmp_path, text))

    assert config.data.target == word
    assert config.data.classes == (word, "other")
    assert config.data.key == (word,)
    assert config.columns["color"] == CategoryColumn(allowed=(word, "b"))
    assert config.data.source == CsvFile(path=word, null_values=(word,))
    assert config.tracking.tags == {word: word}
    assert config.split.model_dump()["columns"] == (word,)


@pytest.mark.parametrize("word", ["null", "~", "Null", "NULL"])
def test_a_null_among_words_is_refused_unless_it_is_quoted(tmp_path: Path, word: str) -> None:
    def text(written: str) -> str:
        return TEXT.replace("{kind: category}", f"{{kind: category, allowed: [a, {written}]}}")

    assert problems_of(tmp_path, text(word)) == [
        "toy.yaml:7: columns.color.allowed.1: must be text, and is empty or null; put a word that "
        "is meant in quotes"
    ]
    config = load_config(write(tmp_path, text(f'"{word}"')))
    assert config.columns["color"] == CategoryColumn(allowed=("a", word))


def test_numbers_and_truths_are_still_what_yaml_makes_of_them(tmp_path: Path) -> None:
    text = TEXT.replace("epochs: 50", "epochs: 1_000\n  batch_size: 0x40\n  clip_norm: 1e1")
    text = text.replace("path: toy.csv", "path: toy.csv, trim: true").replace("0.01", "1e-2")
    text += "promotion: {floor: ~}\n"

    config = load_config(write(tmp_path, text))

    assert (config.training.epochs, config.training.batch_size) == (1000, 64)
    assert config.training.clip_norm == 10.0
    assert config.training.optimizer.learning_rate == 0.01
    assert config.data.source == CsvFile(path="toy.csv", trim=True)
    assert config.promotion.floor is None


def test_merged_keys_are_taken_as_written_and_come_after_the_own_ones(tmp_path: Path) -> None:
    anchored = "color: &words\n    kind: boolean\n    true: [ja]\n    false: [nein]\n"
    text = TEXT.replace("color: {kind: category}", anchored + "  '<<': *words\n  001: {<<: *words}")
    text += "tracking: {tags: {b: 1, <<: [{a: 2, b: 3}, {a: 4, on: 5}]}}\n"

    config = load_config(write(tmp_path, text))

    assert config.columns["001"] == config.columns["color"] == config.columns["<<"]
    assert config.tracking.tags == {"b": "1", "a": "2", "on": "5"}
    assert list(config.tracking.tags) == ["b", "a", "on"]


def test_aliases_of_aliases_end(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]

    (problem,) = problems_of(tmp_path, "\n".join(lines))

    assert "holds more than 200,000 values" in problem


def test_a_line_is_that_of_the_key_in_every_style(tmp_path: Path) -> None:
    columns = "001:\n    kind: category\n    nulable: true\n"
    columns += "  on: {kind: category,\n    allowed_words: [a]}"
    text = TEXT.replace("color: {kind: category}", columns)

    assert problems_of(tmp_path, text) == [
        "toy.yaml:9: columns.001.nulable: unknown key; did you mean nullable?",
        "toy.yaml:11: columns.on.allowed_words: unknown key; did you mean allowed?",
    ]


words = st.one_of(
    st.sampled_from([*TYPED, "", " ", "<<", "kind", "a.b", "- a", "a: b", "#", "'"]), st.text()
)


@given(names=st.lists(words, min_size=3, max_size=8, unique=True), weight=st.floats(1e-6, 1e6))
@example(names=["true", "false", "null"], weight=1e-6)
def test_a_config_is_the_same_after_it_was_written_as_yaml(
    tmp_path: Path, table_config: MakeConfig, names: list[str], weight: float
) -> None:
    target, *columns = [name for name in names if name] or ["t", "a", "b"]
    columns = columns or ["only"]
    config = table_config(
        data={
            "target": target,
            "task": "multiclass",
            "classes": names,
            "key": columns,
            "source": {"kind": "csv", "path": "rows.csv", "null_values": names},
        },
        columns={name: {"kind": "category", "allowed": names} for name in columns},
        training={"loss": {"kind": "cross_entropy", "class_weights": {names[0]: weight}}},
        tracking={"tags": dict.fromkeys(names, target)},
    )

    again = load_config(write(tmp_path, config_yaml(config)))

    assert again.model_dump() == config.model_dump()
    assert again.digest() == config.digest()
    assert list(again.columns) == list(config.columns)


@given(key=words, value=words)
def test_words_of_a_proposal_are_read_as_they_are(key: str, value: str) -> None:
    document = read_yaml_text(f"{{{scalar(key)}: [{scalar(value)}]}}  # and a comment\n")

    assert document.tree == {key: [value]}
    (item,) = document.tree[key]  # type: ignore[index]
    assert isinstance(item, Scalar)
    assert item.value == value


@pytest.mark.parametrize("text", ["a: [", "a: b: c", "\ta", "*x", "a: &x {<<: *x}", "--- a\n--- b"])
def test_what_is_no_yaml_is_one_error(text: str) -> None:
    with pytest.raises(YamlTextError):
        read_yaml_text(text)
