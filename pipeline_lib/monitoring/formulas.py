"""Columns of numbers that add up, or multiply, to the target.

Least squares over all of them shows whether they do; then columns are left away one by one as long
as the rest still does, so that `cnt = casual + registered` is reported, whatever else is there.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline_lib.monitoring.counts import Floats

_MAX_ROWS = 5_000
_MAX_COLUMNS = 100
_MAX_FORMULAS = 5
_LEAST_ROWS = 30
# Of the target's deviation. Cents that were rounded leave about a thousandth of it.
_EXACT = 1e-6
_CLOSE = 1e-3


@dataclass(frozen=True)
class Formula:
    """How some columns make the target.

    Attributes:
        weights: the factor of each column, in a product its power.
        constant: what is added, in a product what all is multiplied with.
        r2: share of the target's variance, of its logarithm's in a product.
    """

    target: str
    weights: dict[str, float]
    constant: float
    is_product: bool
    is_exact: bool
    r2: float

    def __str__(self) -> str:
        """Return `cnt = casual + registered`."""
        return f"{self.target} = {self._product() if self.is_product else self._sum()}"

    def _sum(self) -> str:
        terms = [
            (weight, name if abs(weight) == 1 else f"{abs(weight):.6g} × {name}")
            for name, weight in self.weights.items()
        ]
        if self.constant:
            terms.append((self.constant, f"{abs(self.constant):.6g}"))
        terms.sort(key=lambda term: term[0] < 0)  # what is added first
        text = "".join(f" {'-' if weight < 0 else '+'} {term}" for weight, term in terms)
        return text.removeprefix(" + ").strip()

    def _product(self) -> str:
        powers = {1.0: "{}", -1.0: "1 / {}"}
        terms = [powers.get(p, f"{{}}^{p:.4g}").format(n) for n, p in self.weights.items()]
        factor = [] if self.constant == 1 else [f"{self.constant:.6g}"]
        return " × ".join([*factor, *sorted(terms, key=lambda t: t.startswith("1 /"))]).replace(
            "× 1 /", "/"
        )


def find_formulas(target: str, y: Floats, numbers: Mapping[str, Floats]) -> list[Formula]:
    """Return sums and products that make the target; no column is in two of them.

    Args:
        target: what the target is called.
        y: its values, without NaN; shape ``(n_rows,)``.
        numbers: columns by name, NaN where there is no value; each of shape ``(n_rows,)``.
    """
    rows = np.linspace(0, len(y) - 1, min(len(y), _MAX_ROWS)).astype(np.intp)
    y = y[rows]
    full = {n: x[rows] for n, x in numbers.items() if np.isnan(x[rows]).mean() <= 0.1}
    complete = ~np.isnan(np.column_stack([y, *full.values()])).any(axis=1)
    y, full = y[complete], {n: x[complete] for n, x in full.items()}
    full = {n: x for n, x in full.items() if _varies(x)}
    if len(y) < _LEAST_ROWS or not _varies(y) or not full:
        return []
    found: list[Formula] = []
    for is_product in (False, True):
        left = {n: x for n, x in full.items() if not any(n in f.weights for f in found)}
        found += _of_one_kind(target, y, left, is_product=is_product)
    return found


def _varies(values: Floats) -> bool:
    """Return whether numbers differ, and by less than what squares can hold (about 1e154)."""
    with np.errstate(over="ignore"):
        return 0 < float(values.std()) < math.inf


def _of_one_kind(
    target: str, y: Floats, numbers: Mapping[str, Floats], *, is_product: bool
) -> list[Formula]:
    if is_product:
        if y.min() <= 0:
            return []
        y = np.log(y)
        numbers = {n: np.log(x) for n, x in numbers.items() if x.min() > 0}
    # A copy would take part in every sum: copies come first, each by itself.
    found = [f for n, x in numbers.items() if (f := _fit(target, y, {n: x}, is_product))]
    left = {n: x for n, x in numbers.items() if not any(n in f.weights for f in found)}
    while left and len(found) < _MAX_FORMULAS:
        formula = _smallest(target, y, _nearest(y, left), is_product)
        if formula is None:
            break
        found.append(formula)
        left = {n: x for n, x in left.items() if n not in formula.weights}
    return found


def _nearest(y: Floats, numbers: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return the columns that go most with the target, no more than there are rows for."""
    n_most = min(_MAX_COLUMNS, len(y) // 3)
    z = y - y.mean()
    by_size = sorted(numbers, key=lambda n: -abs(float(_standard(numbers[n]) @ z)))
    nearest = set(by_size[:n_most])
    return {name: values for name, values in numbers.items() if name in nearest}


def _smallest(
    target: str, y: Floats, numbers: dict[str, Floats], is_product: bool
) -> Formula | None:
    formula = _fit(target, y, numbers, is_product)
    if formula is None:
        return None
    effect = {n: abs(w) * float(numbers[n].std()) for n, w in formula.weights.items()}
    for name in sorted(effect, key=lambda n: effect[n]):
        fewer = {n: numbers[n] for n in formula.weights if n != name}  # in the table's order
        formula = (_fit(target, y, fewer, is_product) if fewer else None) or formula
    return formula


def _fit(target: str, y: Floats, numbers: Mapping[str, Floats], is_product: bool) -> Formula | None:
    x = np.column_stack([_standard(values) for values in numbers.values()])
    z = _standard(y)
    weights: Floats = np.linalg.lstsq(x, z, rcond=None)[0].astype(np.float64)
    off = z - x @ weights
    if float(np.sqrt(np.mean(off**2))) > _CLOSE:
        return None
    is_exact = bool(np.abs(off).max() <= _EXACT)
    scales = [float(y.std() / values.std()) for values in numbers.values()]
    plain = {
        name: _rounded(float(weight) * scale, is_exact)
        for name, weight, scale in zip(numbers, weights, scales, strict=True)
    }
    rest = float(y.mean()) - sum(plain[name] * float(x.mean()) for name, x in numbers.items())
    if is_product:
        constant = _rounded(float(np.exp(rest)), is_exact)
    else:
        constant = 0.0 if abs(rest) <= _CLOSE * float(y.std()) else _rounded(rest, is_exact)
    return Formula(target, plain, constant, is_product, is_exact, 1.0 - float(np.mean(off**2)))


def _standard(values: Floats) -> Floats:
    return (values - values.mean()) / values.std()


def _rounded(weight: float, is_exact: bool) -> float:
    tolerance = (1e-4 if is_exact else 1e-2) * max(1.0, abs(weight))
    return float(round(weight)) if abs(weight - round(weight)) <= tolerance else weight
