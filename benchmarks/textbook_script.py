"""The textbook chapter's script, and the same with one fault mended after the other.

The chapter makes a one-hot matrix of the four classes, flattens it row by row to 6912 zeros and
ones, and cuts train and test labels out of that vector as if it had one entry per row. Row i is
thereby trained to give entry i of the flattened matrix, which belongs to row i // 4. Its test
slice is the end of a sorted table, and its predictions are made with dropout still on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.metrics import accuracy_score, f1_score
from torch import Tensor, nn

from pipeline_lib.data.car_evaluation import TARGET, car_evaluation

EPOCHS, LEARNING_RATE, DROPOUT, HIDDEN = 300, 0.001, 0.4, (200, 100, 50)


@dataclass(frozen=True)
class Score:
    """What one run reached; `macro_f1` is None where the labels are no classes."""

    accuracy: float
    macro_f1: float | None = None

    @classmethod
    def of(cls, actual: Sequence[object], predicted: Sequence[object]) -> "Score":
        """Compare labels."""
        macro_f1 = f1_score(actual, predicted, average="macro", zero_division=0)
        return cls(float(accuracy_score(actual, predicted)), float(macro_f1))


class TextbookNetwork(nn.Module):
    """Embeddings and their dropout, then Linear, ReLU, BatchNorm and Dropout, then a head."""

    def __init__(self, sizes: Sequence[int], d_out: int) -> None:
        super().__init__()
        widths = [min(50, (n + 1) // 2) for n in sizes]
        self.embeddings = nn.ModuleList(
            nn.Embedding(n, width) for n, width in zip(sizes, widths, strict=True)
        )
        self.embedding_dropout = nn.Dropout(DROPOUT)
        layers: list[nn.Module] = []
        d_in = sum(widths)
        for d_hidden in HIDDEN:
            layers += [nn.Linear(d_in, d_hidden), nn.ReLU(), nn.BatchNorm1d(d_hidden)]
            layers.append(nn.Dropout(DROPOUT))
            d_in = d_hidden
        self.layers = nn.Sequential(*layers, nn.Linear(d_in, d_out))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(n_rows, d_out)`` of codes ``(n_rows, n_columns)``."""
        parts = [embed(x[:, i]) for i, embed in enumerate(self.embeddings)]
        return self.layers(self.embedding_dropout(torch.cat(parts, 1)))


def textbook_script(seed: int, *, eval_mode: bool = False) -> Score:
    """Do what the chapter does: flatten the one-hot matrix, cut it, train, predict.

    Args:
        seed: of weights and dropout; the chapter sets none.
        eval_mode: turn dropout off before the test predictions; the chapter does not.
    """
    x, _, sizes = _tensors(car_evaluation().to_pandas())
    actual = _flattened_labels()
    first = len(x) - int(len(x) * 0.2)
    network = _train_textbook(x[:first], actual[:first], sizes, d_out=2, seed=seed)
    network.train(not eval_mode)
    predicted = _predict(network, x[first:])
    return Score(float(accuracy_score(actual[first : len(x)], predicted)))


def constant_on_slice() -> Score:
    """Predict 0 for the whole test slice of the flattened labels."""
    total = car_evaluation().num_rows
    actual = _flattened_labels()[total - int(total * 0.2) : total]
    share = float((actual == 0).double().mean())
    assert share == 259 / 345, share
    return Score(share)


def aligned_script(seed: int) -> Score:
    """Train the chapter's network on one class per row; test on the last rows all the same."""
    x, y, sizes = _tensors(car_evaluation().to_pandas())
    first = len(x) - int(len(x) * 0.2)
    network = _train_textbook(x[:first], y[:first], sizes, d_out=4, seed=seed).eval()
    return Score.of(y[first:].tolist(), _predict(network, x[first:]).tolist())


def split_script(seed: int, train: pd.DataFrame, test: pd.DataFrame) -> Score:
    """Train the chapter's network on one class per row, and test it, on the rows given."""
    x, y, sizes = _tensors(pd.concat([train, test], ignore_index=True))
    first = len(train)
    network = _train_textbook(x[:first], y[:first], sizes, d_out=4, seed=seed).eval()
    return Score.of(y[first:].tolist(), _predict(network, x[first:]).tolist())


def _tensors(frame: pd.DataFrame) -> tuple[Tensor, Tensor, list[int]]:
    """Return pandas' category codes, class numbers, and the number of categories per column."""
    words = frame.astype("category")
    features = words.drop(columns=TARGET)
    codes = np.stack([features[name].cat.codes.to_numpy() for name in features], 1)
    y = torch.tensor(words[TARGET].cat.codes.to_numpy(), dtype=torch.int64)
    sizes = [len(features[name].cat.categories) for name in features]
    return torch.tensor(codes, dtype=torch.int64), y, sizes


def _flattened_labels() -> Tensor:
    """Return the one-hot matrix ``(1728, 4)`` of the classes as 6912 zeros and ones."""
    one_hot = pd.get_dummies(car_evaluation().to_pandas()[TARGET]).values
    return torch.tensor(one_hot).flatten().to(torch.int64)


def _train_textbook(
    x: Tensor, y: Tensor, sizes: Sequence[int], *, d_out: int, seed: int
) -> TextbookNetwork:
    torch.manual_seed(seed)
    network = TextbookNetwork(sizes, d_out)
    loss_of = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    for _ in range(EPOCHS):
        loss = loss_of(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


@torch.no_grad()
def _predict(network: nn.Module, x: Tensor) -> npt.NDArray[np.int64]:
    return network(x).argmax(dim=1).numpy()
