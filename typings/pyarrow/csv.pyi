# pyarrow ships no types; an incomplete stub says so once instead of at every use.
from typing import Any

def __getattr__(name: str) -> Any: ...
