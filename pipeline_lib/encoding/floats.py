"""STUB"""

from typing import Protocol

from pipeline_lib.encoding.numeric import Standardizer


class FloatInput(Protocol):
    column: str
    nullable: bool


class Fitter(Protocol): ...


class _F:
    def __init__(self, name, column):
        self.name, self.column, self.chunks = name, column, [0, 0.0, 0.0]

    def add(self, values):
        a = values.drop_null().to_numpy()
        n, m, s = self.chunks
        k = len(a)
        if k:
            am = a.mean()
            d = am - m
            t = n + k
            self.chunks = [t, m + d * k / t, s + ((a - am) ** 2).sum() + d * d * n * k / t]

    def finish(self):
        n, m, s = self.chunks
        return Standardizer(self.name, m, (s / max(n, 1)) ** 0.5 or 1.0, self.column.nullable)


def float_input_fitter(name, column):
    return _F(name, column)


def float_input_from_json(name, column, spec):
    return Standardizer(name, spec["mean"], spec["deviation"], column.nullable)


Standardizer.to_json = lambda self: {"mean": self.mean, "deviation": self.deviation}
