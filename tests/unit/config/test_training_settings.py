"""What a user may say of the training, and what is refused with the key that said it."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.models import EmbeddingMLPSettings
from pipeline_lib.config.training import TrainingSettings

MakeConfig = Callable[..., PipelineConfig]


def _weights(**weights: float) -> dict[str, Any]:
    return {"kind": "cross_entropy", "class_weights": weights}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("epochs", -1),
        ("epochs", 100_001),
        ("epochs", 1.5),
        ("precision", "float16"),
        ("ema_decay", 0),
        ("ema_decay", 1),
        ("n_members", 0),
        ("n_members", 65),
        ("start_from", "challenger"),
        ("warm_epochs", 0),
        ("clip_norm", 0),
        ("clip_norm", -1.0),
        ("clip_norm", float("inf")),
        ("accumulation", 0),
        ("accumulation", -1),
        ("accumulation", 1025),
        ("sparse_above", -1),
        ("sparse_above", 1),
        ("memory_budget_mb", 0),
        ("memory_budget_mb", -1),
        ("checkpoint_s", 0),
        ("checkpoint_s", -1.0),
        ("seed", -1),
        ("seed", 2**31),
        ("device", "tpu"),
        ("monitor", "train_loss"),
    ],
)
def test_a_value_out_of_its_bounds_is_refused_under_its_key(key: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        TrainingSettings.model_validate({key: value})

    assert {problem["loc"][0] for problem in caught.value.errors()} == {key}


@pytest.mark.parametrize("batch_size", [-1, 0, 1])
def test_a_batch_of_fewer_than_two_rows_is_refused(batch_size: int) -> None:
    with pytest.raises(ValidationError, match=f"at least 2 or `full`, not {batch_size}"):
        TrainingSettings.model_validate({"batch_size": batch_size})


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("learning_rate", 0),
        ("learning_rate", -0.1),
        ("learning_rate", float("nan")),
        ("weight_decay", -0.1),
        ("weight_decay_embeddings", -0.1),
    ],
)
def test_an_optimizer_refuses_a_rate_or_decay_that_is_negative(
    kind: str, key: str, value: float
) -> None:
    with pytest.raises(ValidationError) as caught:
        TrainingSettings.model_validate({"optimizer": {"kind": kind, key: value}})

    assert caught.value.errors()[0]["loc"] == ("optimizer", kind, key)


@pytest.mark.parametrize(
    ("loss", "key"),
    [
        ({"kind": "cross_entropy", "label_smoothing": 1.0}, "label_smoothing"),
        ({"kind": "cross_entropy", "label_smoothing": -0.1}, "label_smoothing"),
        (_weights(hot=0.0), "class_weights"),
        (_weights(hot=-1.0), "class_weights"),
        (_weights(hot=float("inf")), "class_weights"),
        ({"kind": "cross_entropy", "class_weights": "even"}, "class_weights"),
        ({"kind": "huber", "delta": 0.0}, "delta"),
        ({"kind": "huber", "delta": -1.0}, "delta"),
        ({"kind": "mse", "delta": 1.0}, "delta"),
    ],
)
def test_a_loss_refuses_what_is_out_of_its_bounds(loss: dict[str, Any], key: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TrainingSettings.model_validate({"loss": loss})

    assert {problem["loc"][:3] for problem in caught.value.errors()} == {
        ("loss", loss["kind"], key)
    }


@pytest.mark.parametrize("key", ["dropout", "dropout_embedding"])
@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_to_drop_is_at_least_0_and_below_1(key: str, share: float) -> None:
    with pytest.raises(ValidationError, match=key):
        EmbeddingMLPSettings.model_validate({key: share})


@pytest.mark.parametrize(
    ("task", "kind", "fitting"),
    [
        ("binary", "mse", "cross_entropy"),
        ("binary", "huber", "cross_entropy"),
        ("multiclass", "mse", "cross_entropy"),
        ("multiclass", "huber", "cross_entropy"),
        ("regression", "cross_entropy", "mse or huber"),
    ],
)
def test_a_loss_that_does_not_fit_the_task_is_refused_with_those_that_do(
    table_config: MakeConfig, task: str, kind: str, fitting: str
) -> None:
    with pytest.raises(ValidationError, match=f"{kind} is not for a {task} task; take {fitting} "):
        table_config(data={"task": task}, training={"loss": {"kind": kind}})


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        ("binary", "cross_entropy"),
        ("multiclass", "cross_entropy"),
        ("regression", "mse"),
        ("regression", "huber"),
    ],
)
def test_a_loss_that_fits_the_task_is_taken(table_config: MakeConfig, task: str, kind: str) -> None:
    config = table_config(data={"task": task}, training={"loss": {"kind": kind}})

    assert config.training.loss is not None
    assert config.training.loss.kind == kind


def test_a_weight_of_a_class_that_was_not_declared_is_refused_with_the_nearest(
    table_config: MakeConfig,
) -> None:
    declared = {"classes": ["hot", "large", "small"]}

    with pytest.raises(ValidationError, match=r"'smaller' is not a class; did you mean small\?"):
        table_config(data=declared, training={"loss": _weights(hot=2.0, smaller=3.0)})


def test_a_weight_that_is_near_no_declared_class_is_refused_with_the_classes(
    table_config: MakeConfig,
) -> None:
    declared = {"classes": ["hot", "large", "small"]}

    with pytest.raises(ValidationError, match=r"'xyz' is not a class; the classes are .*hot"):
        table_config(data=declared, training={"loss": _weights(xyz=2.0)})


def test_weights_of_declared_classes_are_taken_some_or_all(table_config: MakeConfig) -> None:
    declared = {"classes": ["hot", "large", "small"]}

    for weights in ({"hot": 2.0}, {"hot": 2.0, "large": 1.0, "small": 0.5}):
        config = table_config(data=declared, training={"loss": _weights(**weights)})

        assert config.training.model_dump()["loss"]["class_weights"] == weights


def test_without_declared_classes_a_weight_of_any_name_waits_for_the_rows(
    table_config: MakeConfig,
) -> None:
    config = table_config(training={"loss": _weights(smaller=3.0)})

    assert config.training.model_dump()["loss"]["class_weights"] == {"smaller": 3.0}


def test_a_warm_start_takes_a_quarter_of_the_epochs_unless_it_says_how_many() -> None:
    assert TrainingSettings(epochs=10, start_from="champion").n_warm_epochs == 3
    assert TrainingSettings(epochs=1, start_from="champion").n_warm_epochs == 1
    assert TrainingSettings(epochs=10, start_from="champion", warm_epochs=7).n_warm_epochs == 7


def test_warm_epochs_without_a_champion_to_start_from_are_refused() -> None:
    with pytest.raises(ValidationError, match="`warm_epochs` needs `start_from: champion`"):
        TrainingSettings(warm_epochs=5)


@pytest.mark.parametrize(
    ("scheduler", "told"),
    [
        ({"kind": "multistep", "milestones": [9]}, "9 is never reached in 5 warm_epochs"),
        ({"kind": "cosine_warmup", "warmup_epochs": 5}, "5 leaves nothing of 5 warm_epochs"),
    ],
)
def test_a_schedule_must_fit_the_epochs_of_a_warm_start_too(
    scheduler: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValidationError, match=told):
        TrainingSettings.model_validate(
            {"epochs": 20, "start_from": "champion", "scheduler": scheduler}
        )


def test_cuda_graphs_of_steps_that_are_not_compiled_are_refused() -> None:
    with pytest.raises(ValidationError, match="`cuda_graphs` needs `compile: true`"):
        TrainingSettings(cuda_graphs=True)


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_warm_up_by_share_fits_fewer_epochs_than_one_by_epochs(epochs: int) -> None:
    by_share = {"kind": "cosine_warmup", "warmup": 0.05}

    settings = TrainingSettings.model_validate({"epochs": epochs, "scheduler": by_share})

    assert settings.scheduler.kind == "cosine_warmup"


# Of the release before moments, shares of a warm-up and a second fit could be set, at 9e1a0a4.
_BEFORE = "5c96ec5d10d35df89e384f559c4c22bfb0fdf99f21c7ca4a8a9b2fbf3f525175"
_BEFORE_WITH_KINDS = "3ed81c8537bba8059b70f1667ed7a2ea8678e23cbf18ef7c44042b8a3b2f9a90"
_KINDS = {"optimizer": {"kind": "adamw"}, "scheduler": {"kind": "cosine_warmup"}}


def _toy(training: dict[str, Any]) -> PipelineConfig:
    source = {"kind": "csv", "path": "toy.csv"}
    tree = {
        "name": "toy",
        "data": {"source": source, "target": "label", "task": "multiclass"},
        "columns": {"color": {"kind": "category"}},
        "training": training,
    }
    return PipelineConfig.model_validate(tree)


@pytest.mark.parametrize(("training", "digest"), [({}, _BEFORE), (_KINDS, _BEFORE_WITH_KINDS)])
def test_a_config_keeps_its_digest_as_long_as_it_sets_nothing_new(
    training: dict[str, Any], digest: str
) -> None:
    assert _toy(training).digest() == digest


@pytest.mark.parametrize(
    "new",
    [
        {"optimizer": {"kind": "adamw", "beta2": 0.95}},
        {"scheduler": {"kind": "cosine_warmup", "warmup": 0.05}},
        {"refit": True},
    ],
)
def test_what_is_set_is_part_of_the_digest_and_is_read_again(new: dict[str, Any]) -> None:
    config = _toy({**_KINDS, **new})

    assert config.digest() != _toy(_KINDS).digest()
    assert PipelineConfig.model_validate(config.model_dump(mode="json")) == config


def test_gradient_boosting_is_still_read_and_means_boosting(table_config: MakeConfig) -> None:
    config = table_config(evaluation={"baselines": ["constant", "gradient_boosting"]})

    assert config.evaluation.baselines == ("constant", "boosting")
    assert config.digest() != table_config().digest()


@pytest.mark.parametrize(
    ("model", "what"),
    [
        ({"kind": "boosting"}, "a model of kind boosting"),
        ({"kind": "catboost"}, "a model of kind catboost"),
        ({"kind": "auto"}, "the trees of `auto`"),
        (
            {"kind": "blend", "members": [{"kind": "linear"}, {"kind": "boosting"}]},
            "a member of kind boosting",
        ),
    ],
)
def test_label_smoothing_is_refused_where_trees_would_ignore_it(
    table_config: MakeConfig, model: dict[str, Any], what: str
) -> None:
    smooth = {"loss": {"kind": "cross_entropy", "label_smoothing": 0.1}}
    tree = {**table_config(training=smooth).model_dump(mode="json"), "model": model}

    with pytest.raises(ValidationError, match=rf"training\.loss\.label_smoothing: {what} cannot"):
        PipelineConfig.model_validate(tree)

    for kind in ("linear", "tabular_mlp"):
        PipelineConfig.model_validate({**tree, "model": {"kind": kind}})
