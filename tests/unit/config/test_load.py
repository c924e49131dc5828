"""From YAML to a config, and every way a person can get it wrong."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config import PipelineConfig, load_config
from pipeline_lib.config.load import config_yaml, flat_settings
from pipeline_lib.config.metrics import METRICS
from pipeline_lib.errors import ConfigError
from tests.unit.config.toy import TEXT, problems_of, write

MakeConfig = Callable[..., PipelineConfig]
ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.name)
def test_every_config_of_the_project_loads(path: Path) -> None:
    config = load_config(path)

    assert config.root == ROOT


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "learning_rate: 0.01",
            "learning_rat: 0.01",
            "toy.yaml:11: training.optimizer.learning_rat: unknown key; "
            "did you mean learning_rate?",
        ),
        ("training:", "trainig:", "toy.yaml:9: trainig: unknown key; did you mean training?"),
        ("epochs: 50", "xyzzy: 50", "toy.yaml:10: training.xyzzy: unknown key"),
        (
            "size: {kind: number}",
            "size: {kind: number, nulable: true}",
            "toy.yaml:8: columns.size.nulable: unknown key; did you mean nullable?",
        ),
        (
            "task: multiclass",
            "task: multiclas",
            "toy.yaml:5: data.task: must be 'binary', 'multiclass' or 'regression', "
            "not 'multiclas'; did you mean multiclass?",
        ),
        (
            "kind: adam",
            "kind: adm",
            "toy.yaml:11: training.optimizer: kind 'adm' does not exist; did you mean adam? "
            "Known: adam, adamw, sgd",
        ),
        ("{kind: number}", "{}", "toy.yaml:8: columns.size: `kind` is missing"),
        (
            "{kind: number}",
            "{kind: datetime, time_zone: america/newyork}",
            "toy.yaml:8: columns.size.time_zone: 'america/newyork' is not a time zone; "
            "did you mean America/New_York?",
        ),
        (
            "{kind: number}",
            "{kind: datetime, time_zone: localtime}",
            "toy.yaml:8: columns.size.time_zone: 'localtime' is not a time zone; write an IANA "
            "name, as America/New_York",
        ),
        (
            "{kind: number}",
            "{kind: datetime, time_zone: -05:00}",
            "toy.yaml:8: columns.size.time_zone: '-05:00' is not a time zone; write an IANA name",
        ),
        (
            "    step_size: 5\n",
            "",
            "toy.yaml:12: training.scheduler.step_size: is required",
        ),
        ("  target: label\n", "", "toy.yaml:2: data.target: is required"),
        (
            "target: label",
            "target: ~",
            "toy.yaml:4: data.target: must be text, and is empty or null; put a word that is meant "
            "in quotes",
        ),
        ("target: label", "target: yes", ""),
        (
            "task: multiclass",
            "task: multiclass\n  classes: [a, b, null]",
            "toy.yaml:6: data.classes.2: must be text, and is empty or null; put a word that is "
            "meant in quotes",
        ),
        (
            "epochs: 50",
            "epochs: 0",
            "toy.yaml:10: training.epochs: must be at least 1, not 0",
        ),
        (
            "epochs: 50",
            "epochs: 1.5",
            "toy.yaml:10: training.epochs: must be a whole number, not 1.5",
        ),
        (
            "learning_rate: 0.01",
            "learning_rate: .nan",
            "toy.yaml:11: training.optimizer.learning_rate: must be a finite number, not nan",
        ),
        (
            "{kind: adam, learning_rate: 0.01}",
            "adam",
            "toy.yaml:11: training.optimizer: must be a mapping of settings, as {kind: adam}, "
            "not 'adam'",
        ),
        (
            "kind: step\n    step_size: 5",
            "kind: multistep\n    milestones: [5, 50]",
            "toy.yaml:14: training.scheduler.milestones: 50 is never reached in 50 epochs",
        ),
        (
            "kind: step\n    step_size: 5",
            "kind: multistep\n    milestones: []",
            "toy.yaml:14: training.scheduler.milestones: needs at least 1, and has 0",
        ),
        ("name: toy", "name: ../toy", "toy.yaml:1: name: String should match pattern"),
        ("name: toy", "name: Toy", "toy.yaml:1: name: String should match pattern"),
        (
            "target: label",
            "target: color",
            "toy.yaml:7: columns.color: 'color' is the target and a feature; leave it out",
        ),
        (
            "training:",
            "evaluation: {primary: rmse}\ntraining:",
            "toy.yaml:9: evaluation.primary: rmse is not a metric of a multiclass task; "
            f"choose one of {', '.join(METRICS['multiclass'])}",
        ),
    ],
)
def test_a_mistake_is_told_with_file_line_key_and_rule(
    tmp_path: Path, old: str, new: str, problem: str
) -> None:
    text = TEXT.replace(old, new, 1)
    if not problem:  # YAML 1.2 has no such boolean: it is a word
        assert load_config(write(tmp_path, text)).data.target == "yes"
        return

    problems = problems_of(tmp_path, text)

    assert len(problems) == 1
    assert problems[0].startswith(problem)


@pytest.mark.parametrize("value", ["ful", "1.5", "[64]"])
def test_a_wrong_batch_size_is_one_problem_under_the_key_of_the_file(
    tmp_path: Path, value: str
) -> None:
    text = TEXT.replace("epochs: 50", f"batch_size: {value}")

    problems = problems_of(tmp_path, text)

    assert len(problems) == 1
    assert problems[0].startswith("toy.yaml:10: training.batch_size: ")


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    text = TEXT.replace("epochs: 50", "epochs: -1").replace("target", "tarjet")

    lines = [problem.split(":")[1] for problem in problems_of(tmp_path, text)]

    assert lines == ["2", "4", "10"]


@pytest.mark.parametrize("name", ["number", "category", "step", "kind"])
def test_a_column_named_like_a_kind_is_called_by_its_name(tmp_path: Path, name: str) -> None:
    text = TEXT.replace("size: {kind: number}", f"{name}:\n    kind: category\n    nulable: true")

    problems = problems_of(tmp_path, text)

    hint = "unknown key; did you mean nullable?"
    assert problems == [f"toy.yaml:10: columns.{name}.nulable: {hint}"]


def test_a_mistake_that_came_through_a_merge_key_is_told_not_thrown(tmp_path: Path) -> None:
    columns = "color: &word\n    kind: category\n    nulable: true\n  shape:\n    <<: *word"
    text = TEXT.replace("color: {kind: category}", columns)

    problems = problems_of(tmp_path, text)

    assert [p.split(": ")[1] for p in problems] == [
        "columns.color.nulable",
        "columns.shape.nulable",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "toy.yaml:1: is empty"),
        ("# nothing\n", "toy.yaml:1: is empty"),
        ("- a\n- b\n", "toy.yaml:1: is not a mapping of keys to values"),
        ("just words\n", "toy.yaml:1: is not a mapping of keys to values"),
        ("name: toy\ndata: {source: [}\n", "toy.yaml:2: is not valid YAML: "),
        ("name: toy\n\tdata: 1\n", "toy.yaml:2: is not valid YAML: "),
        ("name: toy\nname: toy\n", "toy.yaml:2: is not valid YAML: found duplicate key"),
        ("name: !!set {a}\n", "toy.yaml:1: is not valid YAML: the tag "),
        ("name: &n [*n]\n", "toy.yaml:1: is not valid YAML: an alias stands inside its own anchor"),
        ("name: toy\n? [a]\n: b\n", "toy.yaml:2: is not valid YAML: a key is text, not a list"),
        ("name: toy\n: b\n", "toy.yaml:2: is not valid YAML: a key is missing before the colon"),
        ("a: &a [b]\n<<: *a\n", "toy.yaml:2: is not valid YAML: `<<` merges mappings only"),
        ("name: toy\n'name': toy\n", "toy.yaml:2: is not valid YAML: found duplicate key"),
    ],
)
def test_a_file_that_is_no_mapping_is_told_with_its_line(
    tmp_path: Path, text: str, problem: str
) -> None:
    problems = problems_of(tmp_path, text)

    assert any(found.startswith(problem) for found in problems)


def test_a_key_that_stands_twice_is_refused_not_overwritten(tmp_path: Path) -> None:
    text = TEXT.replace("  epochs: 50\n", "  epochs: 50\n  epochs: 60\n")

    problems = problems_of(tmp_path, text)

    assert len(problems) == 1
    assert problems[0].startswith("toy.yaml:11: is not valid YAML: found duplicate key")
    assert "epochs" in problems[0]


def test_a_file_that_is_not_there_is_told_with_the_nearest_one(tmp_path: Path) -> None:
    write(tmp_path, TEXT)

    with pytest.raises(ConfigError, match=r"tooy\.yaml: there is no such file; did you mean toy"):
        load_config(tmp_path / "tooy.yaml")


def test_a_file_that_is_no_text_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_bytes(b"name: \xff\xfe\n")

    with pytest.raises(ConfigError, match=r"toy\.yaml: cannot be read"):
        load_config(tmp_path / "toy.yaml")


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.name)
def test_the_yaml_of_a_config_loads_as_the_same_config(tmp_path: Path, path: Path) -> None:
    config = load_config(path)

    again = load_config(write(tmp_path, config_yaml(config)))

    assert again.model_dump() == config.model_dump()
    assert again.digest() == config.digest()


@given(
    words=st.lists(st.text(min_size=1), min_size=3, max_size=6, unique=True),
    number=st.floats(0.001, 1),
)
def test_any_word_survives_the_way_through_yaml(
    tmp_path: Path, table_config: MakeConfig, words: list[str], number: float
) -> None:
    target, *columns = words
    config = table_config(
        data={"target": target, "classes": columns},
        columns={name: {"kind": "category", "allowed": [name, "x"]} for name in columns},
        training={"optimizer": {"kind": "sgd", "learning_rate": number}},
    )

    again = load_config(write(tmp_path, config_yaml(config)))

    assert list(again.columns) == columns
    assert again.digest() == config.digest()


@pytest.mark.parametrize(
    "word", ["yes", "no", "null", "~", "1e3", "0x1F", "2024-01-01", " a", "a: b", "#", "é", "1_000"]
)
def test_a_word_that_yaml_might_misread_survives_as_a_class(
    tmp_path: Path, table_config: MakeConfig, word: str
) -> None:
    config = table_config(data={"classes": [word, "other"]})

    again = load_config(write(tmp_path, config_yaml(config)))

    assert again.data.classes == (word, "other")


@pytest.mark.parametrize(
    "assignment",
    [
        "name=toys",
        "data.source.path=toys.csv",
        "data.source.trim=true",
        "data.target=labels",
        "data.task=binary",
        "data.classes=[a, b]",
        "data.key=[color]",
        "data.time=when",
        "columns.color.nullable=true",
        "columns.color.on_unknown=error",
        "columns.shape.kind=category",
        "columns.size.minimum=0",
        "validation.min_rows=21",
        "validation.min_rows_per_class=4",
        "split.val=0.2",
        "split.test=0.2",
        "split.seed=1",
        "encoding.min_count=2",
        "model.d_hidden=[200, 100]",
        "model.dropout=0.1",
        "training.epochs=51",
        "training.batch_size=full",
        "training.optimizer.weight_decay=0.1",
        "training.scheduler.gamma=0.5",
        "training.early_stopping.patience=20",
        "training.monitor=primary",
        "training.device=cpu",
        "training.seed=1",
        "evaluation.primary=accuracy",
        "evaluation.baselines=[constant]",
        "promotion.floor=0.5",
        "data.weight=w",
        "tracking.tags.team=a",
    ],
)
def test_the_digest_changes_with_any_value(tmp_path: Path, assignment: str) -> None:
    path = write(tmp_path, TEXT)

    changed = load_config(path, assignments=[assignment])

    assert changed.digest() != load_config(path).digest()


def test_the_digest_changes_when_columns_change_places(table_config: MakeConfig) -> None:
    columns = {"color": {"kind": "category"}, "size": {"kind": "number"}}

    turned = dict(reversed(columns.items()))

    assert table_config(columns=columns).digest() != table_config(columns=turned).digest()


def test_the_digest_does_not_depend_on_where_the_project_lies(
    tmp_path: Path, table_config: MakeConfig
) -> None:
    config = table_config()

    assert config.with_root(tmp_path).digest() == config.digest()


def test_the_digest_does_not_change_when_a_default_is_written_out(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT)

    spelled = load_config(path, assignments=["split.seed=0", "training.scheduler.gamma=0.1"])

    assert spelled.digest() == load_config(path).digest()


def test_relative_paths_start_at_the_project_root_not_at_the_config(tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").touch()
    (tmp_path / "configs").mkdir()

    config = load_config(write(tmp_path / "configs", TEXT))

    assert config.root == tmp_path.resolve()


def test_flat_settings_have_a_row_for_every_value_under_its_dotted_key(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, TEXT))

    flat = flat_settings(config)

    assert flat["training.optimizer.learning_rate"] == "0.01"
    assert flat["training.scheduler.step_size"] == "5"
    assert flat["columns.color.kind"] == "category"
    assert flat["training.early_stopping"] == "None"
    assert flat["tracking.tags"] == "{}"


@pytest.mark.parametrize("module", ["pipeline_lib", "pipeline_lib.config", "evergreen.__main__"])
def test_importing_brings_no_heavy_library(module: str) -> None:
    heavy = "{'torch', 'mlflow', 'prefect', 'pandas', 'pyarrow', 'sklearn', 'matplotlib'}"
    script = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert done.stdout.strip() == "[]"


def test_a_config_without_weights_has_the_digest_that_it_had_before_there_were_any(
    table_config: MakeConfig,
) -> None:
    plain, weighted = table_config(), table_config(data={"weight": "w"})

    assert "weight" not in plain.model_dump()["data"]
    assert weighted.model_dump()["data"]["weight"] == "w"
    assert plain.digest() != weighted.digest()
