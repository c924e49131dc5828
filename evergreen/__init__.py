"""What a person types. Commands import what they need when they run."""

import sys

# `python -m` looks for every module in the working directory first, where a json.py may lie.
# Only what is loaded before this line can still come from there; `python -P -m` and the command
# `evergreen` never look there.
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:
    sys.path.append(sys.path.pop(0))
