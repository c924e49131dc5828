"""The shape that a table will have for a training, before its rows are split and encoded."""

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.automatic import TableShape
from pipeline_lib.config.columns import CategoryColumn, DatetimeColumn, HashColumn, NumberColumn
from pipeline_lib.config.splits import PredefinedSplit, TimeSplit
from pipeline_lib.monitoring.profile import CategoryProfile, Profile

# Of splits whose shares the rows decide.
_USUAL_SHARE = 0.7


def expected_shape(config: PipelineConfig, profile: Profile, n_rows: int) -> TableShape:
    """Return the expected shape: categories of all rows, and as many training rows as usual.

    Args:
        config: of the dataset.
        profile: of its rows.
        n_rows: rows that keep the contract.
    """
    split, target = config.split, profile.target_profile
    is_known = not isinstance(split, TimeSplit | PredefinedSplit)
    share = 1 - split.val - split.test if is_known else _USUAL_SHARE
    categories, n_numbers = list[int](), 0
    for name, column in config.columns.items():
        found = profile.columns[name]
        if isinstance(column, NumberColumn):
            n_numbers += 1 + column.nullable
        elif isinstance(column, DatetimeColumn):
            n_numbers += 2 * len(column.parts)
        elif isinstance(column, HashColumn):
            categories.append(column.n_buckets)
        elif isinstance(found, CategoryProfile):
            categories.append(found.cardinality)
        if isinstance(column, CategoryColumn) and column.order is not None:
            n_numbers += 2
    n_classes = target.cardinality if isinstance(target, CategoryProfile) else 0
    return TableShape(max(1, round(share * n_rows)), n_classes, tuple(categories), n_numbers)
