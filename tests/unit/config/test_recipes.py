"""The recipes of training change smoothly with the rows, and are settings that may be written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config.recipes import batch_rows, steps_of, tabular_mlp_recipe
from pipeline_lib.config.training import TrainingSettings
from pipeline_lib.training.batches import batch_bounds

ROWS = st.integers(2, 100_000_000)


@given(n_train=ROWS)
def test_a_recipe_is_a_training_that_a_config_can_hold(n_train: int) -> None:
    recipe = tabular_mlp_recipe(n_train, seed=7)

    assert TrainingSettings.model_validate(recipe.model_dump(mode="json")) == recipe
    assert recipe.seed == 7


@given(n_train=ROWS, share=st.floats(0.001, 0.05))
def test_a_few_more_rows_never_mean_fewer_or_many_more_steps(n_train: int, share: float) -> None:
    more = n_train + max(1, int(share * n_train))

    assert steps_of(n_train) <= steps_of(more) <= max(3201, 1.05 * steps_of(n_train))
    assert batch_rows(n_train) <= batch_rows(more) <= 1.05 * batch_rows(n_train) + 1


@given(n_train=st.integers(300, 1_000_000))
def test_epochs_and_batches_make_the_steps_that_it_names(n_train: int) -> None:
    recipe = tabular_mlp_recipe(n_train)

    n_steps = recipe.epochs * len(batch_bounds(n_train, recipe.batch_size))

    assert n_steps == pytest.approx(steps_of(n_train), rel=0.15)


@given(n_train=ROWS)
def test_it_may_stop_before_the_end_but_not_at_once(n_train: int) -> None:
    recipe = tabular_mlp_recipe(n_train)

    assert recipe.early_stopping is not None
    assert recipe.early_stopping.patience >= 5
