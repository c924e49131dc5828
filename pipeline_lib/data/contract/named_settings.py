"""Which setting of the config a message names, and where it stands."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline_lib.config.columns import Column, DatetimeColumn
from pipeline_lib.config.data import DataSettings
from pipeline_lib.errors import Violation


@dataclass(frozen=True)
class NamedSettings:
    """Names settings of the contract: of the features, and of target, weight, key and time.

    `place` gives where the config's file has nested keys, as `configs/x.yaml:18`.
    """

    columns: Mapping[str, Column]
    data: DataSettings
    place: Callable[[Sequence[str | int]], str] | None = None

    def with_changes(self, violations: Sequence[Violation]) -> list[Violation]:
        """Return violations that say which setting lets such rows pass, and where it stands."""
        found: list[Violation] = []
        for violation in violations:
            if violation.rule == "nullable" and violation.column == self.data.target:
                aside = f"{self.named(['data', 'severity'])} can put them into quarantine"
                is_stop = self.data.severity == "stop"
                found.append(replace(violation, change=aside) if is_stop else violation)
                continue
            if violation.column == self.data.weight and violation.rule != "unique":
                found.append(replace(violation, change=self._for_weights()))
                continue
            asked = self._setting(violation)
            if asked is None:
                found.append(violation)
                continue
            verb, keys = asked
            # What to do with nulls the message says already.
            what = (
                "the setting is" if violation.rule == "nullable" else f"if they are right, {verb}"
            )
            found.append(replace(violation, change=f"{what} {self.named(keys)}"))
        return found

    def named(self, keys: Sequence[str]) -> str:
        """Return a setting's name, with its place in the config's file if that is known."""
        place = self.place(keys) if self.place else ""
        return f"`{'.'.join(keys)}`" + (f" ({place})" if place else "")

    def naming(self, column: str) -> str:
        """Return the setting that names a column, with its place."""
        data = self.data
        if column in self.columns:
            return self.named(["columns", column])
        if column == data.target:
            return self.named(["data", "target"])
        if column == data.weight:
            return self.named(["data", "weight"])
        if column in data.key:
            return self.named(["data", "key"])
        return self.named(["data", "time"] if column == data.time else ["split"])

    def _for_weights(self) -> str:
        """Return what to do with rows whose weight cannot be used."""
        said = "a weight is a finite number of at least 0: correct it in the source"
        if self.data.severity == "quarantine":
            return said
        return f"{said}, or let {self.named(['data', 'severity'])} put such rows into quarantine"

    def _setting(self, violation: Violation) -> tuple[str, list[str]] | None:
        """Return what to do to which setting where values are right that a rule refuses."""
        name, rule = violation.column, violation.rule
        column = self.columns.get(name)
        if rule == "unique":
            return "name more columns in", ["data", "key"]
        if rule == "allowed":
            is_target = name == self.data.target
            return "add them to", ["data", "classes"] if is_target else ["columns", name, "allowed"]
        if column is None:
            return None
        if rule == "range":
            keys = ("minimum", "maximum", "earliest", "latest")
            given = [key for key in keys if getattr(column, key, None) is not None]
            return "change", ["columns", name, given[0] if len(given) == 1 else "/".join(given)]
        if rule == "nullable":
            return "set", ["columns", name, "nullable"]
        if rule != "type":
            return None
        if isinstance(column, DatetimeColumn) and column.format is not None:
            return "change", ["columns", name, "format"]
        return "change", ["columns", name, "kind"]
