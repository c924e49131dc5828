"""Which time zone the columns of a stream have, and times without one beside those that have it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

import pyarrow as pa

from pipeline_lib.config.columns import Column, DatetimeColumn
from pipeline_lib.data.values.casts import ReadColumn
from pipeline_lib.data.values.zones import Clocks, ColumnZone, common_zone, zones_of_field
from pipeline_lib.errors import Violation
from pipeline_lib.shown import hashed
from pipeline_lib.wording import examples, rows_that


class ColumnClocks:
    """Learns how the columns of times are written, batch by batch."""

    def __init__(self, declared: Mapping[str, Column], features: Collection[str]) -> None:
        """Start with nothing; only a feature can have a setting that says its zone."""
        self._columns = {n: c for n, c in declared.items() if isinstance(c, DatetimeColumn)}
        self._features = frozenset(features)
        self._clocks = {name: Clocks() for name in self._columns}

    def add(self, schema: pa.Schema, read: Mapping[str, ReadColumn]) -> None:
        """Look at a batch: its schema as it came, and the columns as they were read."""
        for name in self._columns:
            clocks = read[name].clocks
            if clocks.zones and (zones := zones_of_field(schema.field(name))):
                clocks = replace(clocks, zones=zones)  # of the files, which the type does not hold
            self._clocks[name] += clocks

    def violations(self) -> Iterator[Violation]:
        """Yield the columns in which some times have a zone and others do not."""
        for name, column in self._columns.items():
            clocks = self._clocks[name]
            if column.time_zone is None and clocks.n_naive and clocks.zones:
                others = f"others have {examples(sorted(clocks.zones))}"
                way = (
                    f"write their offset, or set `columns.{name}.time_zone`, their zone"
                    if name in self._features
                    else "write an offset in all rows of the source, or in none"
                )
                yield _naive_times(name, clocks, others, way, hidden=column.hides_values)

    def zones(self) -> dict[str, str]:
        """Return the zones of the columns that have one."""
        found = {name: self._zone(name).name for name in self._columns}
        return {name: zone for name, zone in found.items() if zone is not None}

    def notes(self) -> tuple[str, ...]:
        """Return what a person should know of the zones, a sentence each."""
        with_clock = {
            name: self._zone(name).note
            for name, column in self._columns.items()
            if name in self._features and set(column.parts) != {"elapsed"}
        }
        return tuple(f"column {name!r}: {note}" for name, note in with_clock.items() if note)

    def _zone(self, name: str) -> ColumnZone:
        setting = self._columns[name].time_zone
        if setting is not None:
            return ColumnZone(setting)
        return common_zone(self._clocks[name].zones, f"columns.{name}.time_zone")


def times_without_zone(
    read: Mapping[str, ReadColumn], zones: Mapping[str, str], hidden: Collection[str]
) -> Iterator[Violation]:
    """Yield the columns whose times need a zone and have none; `zones` are those of training.

    Of `hidden` columns values are quoted as hashes.
    """
    for name, zone in zones.items():
        if name in read and read[name].clocks.n_naive:
            others = f"those of the training were of {zone}"
            way = f"write their offset, or train with `columns.{name}.time_zone`, their zone"
            yield _naive_times(name, read[name].clocks, others, way, hidden=name in hidden)


def times_of_other_clock(
    read: Mapping[str, ReadColumn], clockless: Collection[str]
) -> Iterator[str]:
    """Yield what a person should know of times that have a zone where those of training had none.

    Args:
        read: columns of a table.
        clockless: the columns whose clock is what training's times showed, in no zone that is
            known; times of UTC count as theirs.
    """
    for name in clockless:
        if name in read and (zones := read[name].clocks.zones - {"UTC"}):
            yield (
                f"column {name!r} holds times of {examples(sorted(zones))}, and no zone is known "
                "of those of the training: their hours and days are read from UTC's clock; train "
                f"with `columns.{name}.time_zone`"
            )


def _naive_times(name: str, clocks: Clocks, others: str, way: str, *, hidden: bool) -> Violation:
    few = map(hashed, clocks.naive) if hidden else clocks.naive
    shown = examples(dict.fromkeys(few))
    held = rows_that(clocks.n_naive, f"hold times without a zone, such as {shown}")
    message = f"{held}, and {others}: {way}"
    return Violation(name, "zone", clocks.n_naive, message)
