"""Values that one run sets differently: `--set KEY=VALUE`, and the form's overrides."""

from pathlib import Path

import pytest

from pipeline_lib.config import Overrides, load_config
from pipeline_lib.config.models import EmbeddingMLPSettings
from pipeline_lib.config.schedules import CosineSchedule
from pipeline_lib.config.training import SGD, AdamW
from tests.unit.config.toy import TEXT, problems_of, write


def test_assignments_set_values_of_every_type(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT)

    config = load_config(
        path,
        assignments=[
            "training.epochs=7",
            "training.optimizer.learning_rate=1e-3",
            "model.d_hidden=[4, 2]",
            "columns.size.nullable=true",
            "data.key=[color]",
            "training.early_stopping.patience=3",
            "training.batch_size=full",
            "promotion.floor=",
        ],
    )

    assert config.training.epochs == 7
    assert config.training.optimizer.learning_rate == 0.001
    assert config.model.d_hidden == (4, 2)
    assert config.columns["size"].nullable is True
    assert config.data.key == ("color",)
    assert config.training.early_stopping is not None
    assert config.training.early_stopping.patience == 3
    assert config.training.batch_size == "full"
    assert config.promotion.floor is None


def test_assigning_another_kind_drops_the_settings_of_the_old_one(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT)

    config = load_config(path, assignments=["training.scheduler.kind=cosine"])

    assert config.training.scheduler == CosineSchedule()


def test_assigning_the_same_kind_keeps_its_settings(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT)

    config = load_config(path, assignments=["training.optimizer.kind=adam"])

    assert config.training.optimizer.learning_rate == 0.01


@pytest.mark.parametrize("word", ["007", "on", "1e3", "0x10", "1_000", "true", "2026-01-01"])
def test_an_assigned_word_is_taken_as_written(tmp_path: Path, word: str) -> None:
    path = write(tmp_path, TEXT)

    config = load_config(
        path,
        assignments=[
            f"data.key=[{word}]",
            f"columns.{word}={{kind: category, allowed: [{word}]}}",
            "columns.flag={kind: boolean, true: [1], false: [0]}",
        ],
    )

    assert config.data.key == (word,)
    assert config.columns[word].model_dump()["allowed"] == (word,)
    assert config.columns["flag"].model_dump()["true"] == ("1",)
    assert load_config(path, assignments=[f"data.target={word}"]).data.target == word


@pytest.mark.parametrize(
    ("assignment", "problem"),
    [
        ("training.epochs", "--set: training.epochs: write KEY=VALUE, as in training.epochs=50"),
        ("=3", "--set: =3: write KEY=VALUE, as in training.epochs=50"),
        ("training..epochs=3", "--set: training..epochs=3: write KEY=VALUE"),
        ("training.epochs=[1", "--set: training.epochs: '[1' is not valid YAML"),
        (
            "split.val=2024-99-99",
            "--set: split.val: must be a number, not '2024-99-99'",
        ),
        (
            "training.epoch=3",
            "--set: training.epoch: unknown key; did you mean epochs?",
        ),
        ("trainng.epochs=3", "--set: trainng: unknown key; did you mean training?"),
        ("training.loss.kind=msee", "--set: training.loss: kind 'msee' does not exist"),
        ("model=~", "--set: model: must be a mapping of settings, not null"),
        ("training.epochs=0", "--set: training.epochs: must be at least 1, not 0"),
        ("training.clip_norm=0", "--set: training.clip_norm: must be above 0, not 0"),
        ("training.epochs=many", "--set: training.epochs: must be a whole number, not 'many'"),
        ("training.seed=99999999999", "--set: training.seed: must be at most 2147483647, not 9"),
        (
            "training.scheduler=cosine",
            "--set: training.scheduler: must be a mapping of settings, as {kind: cosine}, not",
        ),
        ("training.scheduler=3", "--set: training.scheduler: must be a mapping of settings, not"),
        ("data.target=[a]", "--set: data.target: Input should be a valid string"),
        ("data.target=~", "--set: data.target: must be text, and is empty or null; put a word"),
    ],
)
def test_a_wrong_assignment_is_told_as_one_and_not_as_a_line_of_the_file(
    tmp_path: Path, assignment: str, problem: str
) -> None:
    problems = problems_of(tmp_path, TEXT, assignment)

    assert len(problems) == 1
    assert problems[0].startswith(problem)


@pytest.mark.parametrize(
    ("assignments", "problem"),
    [
        (
            ["training.warm_epochs=3", "training.seed=1"],
            "--set: training.warm_epochs: `warm_epochs` needs `start_from: champion`",
        ),
        (
            ["training.optimizer={kind: sgd, nesterov: true, momentum: 0}"],
            "--set: training.optimizer.nesterov: `nesterov` needs a `momentum` above 0",
        ),
        (
            ["training.scheduler={kind: multistep, milestones: [3]}", "training.epochs=2"],
            "--set: training.scheduler.milestones: 3 is never reached in 2 epochs",
        ),
        (
            ["training.loss.kind=mse", "training.seed=1"],
            "--set: training.loss.kind: mse is not for a multiclass task; take cross_entropy",
        ),
        (
            ["data.target=color", "training.seed=1"],
            "--set: data.target: 'color' is the target and a feature; leave it out of `columns`",
        ),
    ],
)
def test_a_rule_of_several_keys_is_told_with_those_that_were_set(
    tmp_path: Path, assignments: list[str], problem: str
) -> None:
    problems = problems_of(tmp_path, TEXT, *assignments)

    assert len(problems) == 1
    assert problems[0].startswith(problem)


@pytest.mark.parametrize("kind", ["embedding_mlp", "linear"])
def test_a_section_without_a_kind_keeps_its_settings_when_its_own_kind_is_named(
    tmp_path: Path, kind: str
) -> None:
    path = write(tmp_path, TEXT + "model: {d_hidden: [7]}\nsplit: {val: 0.3}\n")

    config = load_config(path, assignments=[f"model.kind={kind}", "split.kind=hash"])

    assert config.model.kind == kind
    assert config.model.model_dump().get("d_hidden") == ((7,) if kind == "embedding_mlp" else None)
    assert config.split.val == 0.3


def test_an_override_of_the_model_keeps_what_a_section_without_a_kind_says(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT + "model: {d_hidden: [7]}\n")

    config = load_config(path, Overrides.model_validate({"model": {"dropout": 0.25}}))

    assert config.model == EmbeddingMLPSettings(d_hidden=(7,), dropout=0.25)


def test_overrides_replace_values_and_come_after_assignments(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT)
    overrides = Overrides(
        epochs=9,
        seed=5,
        model=EmbeddingMLPSettings(d_hidden=(3,)),
        optimizer=AdamW(learning_rate=0.5),
        scheduler=CosineSchedule(),
    )

    config = load_config(path, overrides, assignments=["training.epochs=7"])

    assert config.training.epochs == 9
    assert config.training.seed == 5
    assert config.model == EmbeddingMLPSettings(d_hidden=(3,))
    assert config.training.optimizer == AdamW(learning_rate=0.5)
    assert config.training.scheduler == CosineSchedule()


def test_empty_overrides_change_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT)

    assert load_config(path, Overrides()).digest() == load_config(path).digest()


def test_an_override_keeps_what_it_does_not_name() -> None:
    overrides = Overrides.model_validate({"optimizer": {"kind": "adam", "weight_decay": 0.5}})

    config = load_config("configs/car_evaluation.yaml", overrides)

    assert config.training.optimizer.weight_decay == 0.5
    assert config.training.optimizer.learning_rate == 0.01


def test_an_override_of_another_kind_starts_from_its_defaults() -> None:
    overrides = Overrides.model_validate({"optimizer": {"kind": "sgd"}})

    config = load_config("configs/car_evaluation.yaml", overrides)

    assert config.training.optimizer == SGD()


def test_assignments_of_a_kind_and_its_values_may_come_in_any_order() -> None:
    words = ["training.scheduler.step_size=5", "training.scheduler.kind=step"]

    configs = [
        load_config("configs/car_evaluation.yaml", assignments=w) for w in (words, words[::-1])
    ]

    assert configs[0] == configs[1]


DOTTED = TEXT.replace(
    "columns:", "columns:\n  hours.per.week: {kind: category}\n  hours: {kind: number}"
)


@pytest.mark.parametrize(
    "assignment",
    [
        "columns.hours.per.week.kind=number",
        'columns."hours.per.week".kind=number',
        "columns.'hours.per.week'.kind=number",
        ' columns . "hours.per.week" . kind =number',
        "columns.hours.per.week={kind: number}",
    ],
)
def test_a_column_with_a_dot_in_its_name_can_be_set(tmp_path: Path, assignment: str) -> None:
    path = write(tmp_path, DOTTED)

    config = load_config(path, assignments=[assignment])

    assert config.columns["hours.per.week"].kind == "number"
    assert config.columns["hours"].kind == "number"


def test_a_new_column_with_a_dot_or_an_equals_sign_stands_in_quotes(tmp_path: Path) -> None:
    names = ("a.b", "a=b", "it's")

    config = load_config(
        write(tmp_path, TEXT), assignments=[f'columns."{name}".kind=number' for name in names]
    )

    assert all(config.columns[name].kind == "number" for name in names)


def test_a_mistyped_name_with_dots_is_told_with_the_nearest_and_the_quotes(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, DOTTED, "columns.houres.per.week.kind=number")

    assert len(problems) == 1
    assert "there is no such column; did you mean hours.per.week?" in str(problems[0])
    assert 'stands in quotes: columns."houres.per.week"' in str(problems[0])


def test_a_problem_of_a_column_with_dots_is_told_as_an_assignments(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, DOTTED, "columns.hours.per.week.knid=number")

    assert str(problems[0]).startswith("--set: columns.hours.per.week.knid: unknown key; did you")
