"""The format in which a column of text writes dates."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from pipeline_lib.config.columns import DatetimeColumn
from tests.unit.proposal.proposals import N, of


class TestDates:
    DAYS = tuple(date(2023, 1, 1) + timedelta(days=i * 3) for i in range(N))

    @pytest.mark.parametrize(
        "form",
        ["%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y%m%d", "%d-%b-%Y", "%B %d, %Y", "%d/%m/%Y %H:%M"],
    )
    def test_a_format_is_found(self, tmp_path: Path, form: str) -> None:
        found = of(tmp_path, a=[day.strftime(form) for day in self.DAYS])

        column = found.config.columns["a"]
        assert isinstance(column, DatetimeColumn)
        assert column.format == found.config.data.time_format
        assert [n for n in found.proposal.notes if "guess" in n] == []
        read = column.format or ""
        assert [day.strftime(read.replace(" %H:%M", "")) for day in self.DAYS] == [
            day.strftime(form.replace(" %H:%M", "")) for day in self.DAYS
        ]

    @pytest.mark.parametrize("clock", ["", " 10:30", "T10:30:00Z", "T10:30:00+01:00"])
    def test_iso_needs_no_format(self, tmp_path: Path, clock: str) -> None:
        column = of(tmp_path, a=[f"{day}{clock}" for day in self.DAYS]).config.columns["a"]

        assert isinstance(column, DatetimeColumn)
        assert column.format is None
        assert ("hour" in column.parts) == bool(clock)

    def test_days_and_months_that_could_be_swapped_are_told(self, tmp_path: Path) -> None:
        days = [date(2023, 1 + i % 12, 1 + i % 11) for i in range(N)]

        found = of(tmp_path, a=[day.strftime("%d/%m/%Y") for day in days])

        (note,) = [note for note in found.proposal.notes if "guess" in note]
        assert "%m/%d/%Y and %d/%m/%Y both fit" in note

    def test_dates_in_two_formats_are_left_out(self, tmp_path: Path) -> None:
        mixed = [
            day.isoformat() if i % 2 else day.strftime("%d.%m.%Y")
            for i, day in enumerate(self.DAYS)
        ]

        found = of(tmp_path, a=mixed)

        assert "dates in several formats" in found.left_out["a"]
