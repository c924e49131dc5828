"""`evergreen codes`: which code is which category."""

from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from evergreen.config_argument import dataset_name
from evergreen.tables import print_json, print_table
from pipeline_lib.home import find_home


def codes(
    name: str,
    column: str | None = None,
    *,
    json_: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Show which code is which category.

    Args:
        name: the dataset, or its config.
        column: one of its category columns; all of them without it.
        json_: print the codes as JSON.
    """
    from pipeline_lib.encoding.codebook import codes_of_dataset

    found = codes_of_dataset(find_home().dataset(dataset_name(name)), column)
    if json_:
        print_json([asdict(code) for code in found])
        return 0
    print_table(
        ("column", "code", "category", "train rows", "first seen", "last seen", "state"),
        [
            (
                code.column,
                str(code.code),
                f"({code.meaning})" if code.category is None else code.category,
                str(code.count),
                code.first_seen,
                code.last_seen,
                code.state,
            )
            for code in found
        ],
    )
    return 0
