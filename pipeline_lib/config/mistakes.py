"""Rules between settings: each names the keys it speaks of, and all that are broken are reported.

pydantic stops at the first validator of a class that raises, and runs none where a field is wrong.
A rule here is a method that yields a `Mistake` for each thing that is wrong; it is asked of
whatever values are valid, so one mistake hides no other.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

Keys = tuple[str | int, ...]
Owner = TypeVar("Owner")
_RULES: set[Callable[..., Iterator["Mistake"]]] = set()


@dataclass(frozen=True)
class Mistake:
    """What is wrong with values that are each valid alone.

    `keys` are the places it may stand at, below the settings whose rule it is: it is reported at
    the first that the file has.
    """

    keys: tuple[Keys, ...]
    rule: str

    def __str__(self) -> str:
        """Return `scheduler.milestones: …`."""
        return f"{'.'.join(map(str, self.keys[0]))}: {self.rule}"


class MistakesError(ValueError):
    """Settings break rules; `mistakes` lists each."""

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        self.mistakes = mistakes
        super().__init__("; ".join(map(str, mistakes)))


def wrong(rule: str, *keys: str | Keys) -> Mistake:
    """Return a mistake at the first of these keys that the file has.

    Args:
        rule: what is wrong, and what would be right.
        keys: each dotted, or a tuple where a name may have a dot itself.
    """
    return Mistake(tuple(tuple(k.split(".")) if isinstance(k, str) else k for k in keys), rule)


def rule(
    method: Callable[[Owner], Iterator[Mistake]],
) -> Callable[[Owner], Iterator[Mistake]]:
    """Mark a method of settings that yields what is wrong with them."""
    _RULES.add(method)
    return method


def rules_of(cls: type[Any]) -> list[Callable[[Any], Iterator[Mistake]]]:
    """Return the rules of a class of settings, those of the classes it extends first."""
    bases = reversed(cls.__mro__)
    return [each for base in bases for each in vars(base).values() if _is_rule(each)]


def _is_rule(value: object) -> bool:
    return callable(value) and value.__hash__ is not None and value in _RULES
