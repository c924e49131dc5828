"""Tables for the quality benchmark that are defined by a rule: enumerated whole, or drawn by seed.

Tic-tac-toe, balance scale and the three MONK's problems are their UCI tables (the third with the
5 % of noise of its training rows, on all rows); LED and Agrawal's functions follow their papers.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

_LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))
_SEGMENTS = ("1110111", "0010010", "1011101", "1011011", "0111010")
_SEGMENTS_FROM_5 = ("1101011", "1101111", "1010010", "1111111", "1111011")


def tic_tac_toe() -> pd.DataFrame:
    """Return every final board of a game that x began: 958 rows, whether x has won.

    Source: Aha 1991, UCI Tic-Tac-Toe Endgame.
    """
    finals: set[tuple[str, ...]] = set()

    def play(board: list[str], player: str) -> None:
        if _has_won(board, "x") or _has_won(board, "o") or "b" not in board:
            finals.add(tuple(board))
            return
        for square in [n for n, mark in enumerate(board) if mark == "b"]:
            board[square] = player
            play(board, "o" if player == "x" else "x")
            board[square] = "b"

    play(["b"] * 9, "x")
    rows = [(*b, "positive" if _has_won(b, "x") else "negative") for b in sorted(finals)]
    squares = [f"{row}_{column}" for row in ("top", "middle", "bottom") for column in "lmr"]
    return pd.DataFrame(rows, columns=[*squares, "class"])


def balance_scale() -> pd.DataFrame:
    """Return all weights and distances on two sides: 625 rows, the side that goes down.

    Source: Siegler 1976, UCI Balance Scale.
    """
    names = ["left_weight", "left_distance", "right_weight", "right_distance"]
    table = pd.DataFrame(itertools.product(range(1, 6), repeat=4), columns=names)
    torque = table[names[0]] * table[names[1]] - table[names[2]] * table[names[3]]
    table["class"] = np.where(torque > 0, "L", np.where(torque < 0, "R", "B"))
    return table


def monks(problem: int) -> pd.DataFrame:
    """Return all 432 robots of MONK's problem 1, 2 or 3.

    Source: Thrun et al. 1991, UCI MONK's Problems.
    """
    values = [range(1, n + 1) for n in (3, 3, 2, 3, 4, 2)]
    table = pd.DataFrame(itertools.product(*values), columns=[f"a{n}" for n in range(1, 7)])
    if problem == 1:
        is_monk = (table["a1"] == table["a2"]) | (table["a5"] == 1)
    elif problem == 2:
        is_monk = (table == 1).sum(axis=1) == 2
    else:
        green_sword = (table["a5"] == 3) & (table["a4"] == 1)
        is_monk = green_sword | ((table["a5"] != 4) & (table["a2"] != 3))
        is_monk ^= np.random.default_rng(3).random(len(table)) < 0.05
    table["class"] = np.where(is_monk, "yes", "no")
    return table


def led(n_rows: int = 5_000) -> pd.DataFrame:
    """Return digits of a display each of whose segments is wrong in 10 %, and 17 random bits.

    Source: Breiman et al. 1984, UCI LED Display Domain.
    """
    random = np.random.default_rng(24)
    shown = np.array([[int(on) for on in digit] for digit in _SEGMENTS + _SEGMENTS_FROM_5])
    digits = random.integers(0, 10, n_rows)
    bits = np.hstack([shown[digits], random.integers(0, 2, (n_rows, 17))])
    bits[:, :7] ^= random.random((n_rows, 7)) < 0.1
    table = pd.DataFrame(bits, columns=[f"bit_{n}" for n in range(1, 25)])
    table["class"] = [f"digit {digit}" for digit in digits]
    return table


def agrawal(function: int, n_rows: int = 6_000) -> pd.DataFrame:
    """Return people of Agrawal's generator, by function 2, 5 or 7; 5 % of labels are flipped.

    Source: Agrawal, Imielinski, Swami 1993, IEEE TKDE 5(6).
    """
    random = np.random.default_rng(function)
    salary = random.uniform(20_000, 150_000, n_rows)
    poor = salary < 75_000
    commission = np.where(poor, random.uniform(10_000, 75_000, n_rows), 0.0)
    age = random.integers(20, 81, n_rows)
    elevel = random.integers(0, 5, n_rows)
    car = random.integers(1, 21, n_rows)
    zipcode = random.integers(0, 9, n_rows)
    hvalue = random.uniform(0.5, 1.5, n_rows) * 100_000 * (9 - zipcode)
    hyears = random.integers(1, 31, n_rows)
    loan = random.uniform(0, 500_000, n_rows)
    if function == 2:
        bands = [(age < 40, 50, 100), (age < 60, 75, 125), (age >= 60, 25, 75)]
        is_a = _in_band(salary, bands)
    elif function == 5:
        is_rich = _in_band(salary, [(age < 40, 50, 100), (age < 60, 75, 125), (age >= 60, 25, 75)])
        low = np.select([age < 40, age < 60], [100, 200], 300) * 1_000
        high = np.select([age < 40, age < 60], [300, 400], 500) * 1_000
        other = np.select([age < 40, age < 60], [200, 300], 100) * 1_000
        is_a = np.where(
            is_rich, (low <= loan) & (loan <= high), (other <= loan) & (loan <= other + 200_000)
        )
    else:
        is_a = 2 * (salary + commission) / 3 - loan / 5 - 20_000 > 0
    is_a = np.asarray(is_a, dtype=bool) ^ (random.random(n_rows) < 0.05)
    numbers = {"salary": salary, "commission": commission, "hvalue": hvalue, "loan": loan}
    return pd.DataFrame(
        {
            **{name: values.round(2) for name, values in numbers.items()},
            "age": age,
            "hyears": hyears,
            "elevel": [f"level {n}" for n in elevel],
            "car": [f"make {n}" for n in car],
            "zipcode": [f"zip {n}" for n in zipcode],
            "group": np.where(is_a, "A", "B"),
        }
    )


def friedman_1(n_rows: int = 5_000) -> pd.DataFrame:
    """Return Friedman's first problem with noise of deviation 1.

    Source: Friedman 1991, Annals of Statistics 19(1), as scikit-learn makes it.
    """
    from sklearn.datasets import make_friedman1

    x, y = make_friedman1(n_rows, n_features=10, noise=1.0, random_state=1)
    table = pd.DataFrame(x, columns=[f"x{n}" for n in range(1, 11)])
    table["y"] = y
    return table


def _has_won(board: Sequence[str], player: str) -> bool:
    return any(all(board[square] == player for square in line) for line in _LINES)


def _in_band(salary: np.ndarray, bands: Sequence[tuple[np.ndarray, int, int]]) -> np.ndarray:
    """Return whether a salary is between the thousands of the first band that a row is in."""
    conditions = [condition for condition, _, _ in bands]
    low = np.select(conditions, [low * 1_000 for _, low, _ in bands])
    high = np.select(conditions, [high * 1_000 for _, _, high in bands])
    return (low <= salary) & (salary <= high)
