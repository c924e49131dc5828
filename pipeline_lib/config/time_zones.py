"""Names of time zones."""

from zoneinfo import ZoneInfo, available_timezones

from pipeline_lib.wording import did_you_mean

# What stands beside the zones on a machine's disk: its own zone, leap seconds, no zone at all.
_NO_ZONES = frozenset({"localtime", "posixrules", "Factory"})


def zone_problem(name: str) -> str | None:
    """Return what is wrong with the IANA name of a time zone, if anything is."""
    try:
        ZoneInfo(name)
        is_known = name not in _NO_ZONES and not name.startswith(("posix/", "right/"))
    except (KeyError, ValueError, OSError):
        is_known = False
    if is_known:
        return None
    near = did_you_mean(name, available_timezones() - _NO_ZONES)
    return f"{name!r} is not a time zone{near or '; write an IANA name, as America/New_York'}"
