"""Regular expressions of numbers, dates and times, as RE2 and Python both read them."""

NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
WHOLE = r"[+-]?\d+"
SPACED_WHOLE = rf"^\s*{WHOLE}\s*$"

DAY = r"\d{4}-\d\d-\d\d"
ZONE = r"(Z|[+-]\d\d(:?\d\d)?)"
HAS_ZONE = rf"[ T].*{ZONE}$"
_CLOCK = rf"{DAY}([ T]\d\d(:\d\d(:\d\d(\.\d{{1,6}})?)?)?)?"
ISO = rf"^{_CLOCK}$"
ZONED_ISO = rf"^{_CLOCK}{ZONE}$"
