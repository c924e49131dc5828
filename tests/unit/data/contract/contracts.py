"""Tables held to a contract batch by batch, and tables with values that break it."""

from typing import Any

import pyarrow as pa

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract.checker import ContractChecker
from pipeline_lib.data.contract.quarantine import ContractReport

ALL = {"quarantine": {"max_rows": 10**6, "max_percent": 100}}
SEVERITIES = ["stop", "quarantine", "warn"]


def checker_of(config: PipelineConfig, **more: Any) -> ContractChecker:
    return ContractChecker(config.columns, config.data, config.validation, source="toy.csv", **more)


def report_of(config: PipelineConfig, table: pa.Table, n_rows: int = 10**6) -> ContractReport:
    checker = checker_of(config)
    batches = [table.slice(start, n_rows) for start in range(0, table.num_rows, n_rows)]
    for batch in batches:
        checker.check(batch)
    return checker.finish(lambda: batches)


def with_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values))


def with_bad_sizes(table: pa.Table, *bad: object) -> pa.Table:
    sizes = [str(size) for size in table["size"].to_pylist()]
    return with_column(table, "size", [*bad, *sizes[len(bad) :]])


def severe(severity: str, **size: Any) -> dict[str, Any]:
    column = {"kind": "number", "severity": severity, **size}
    return {"columns": {"color": {"kind": "category"}, "size": column}, "validation": ALL}
