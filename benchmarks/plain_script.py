"""The same training without Evergreen: one file of pandas, PyTorch and scikit-learn.

It shares the table with Evergreen and nothing else. Network, dropout, batches, epochs, optimizer
and schedule are those of `configs/car_evaluation.yaml`; it trains, keeps the best epoch by
validation loss, and prints the test's macro-F1. No record, no registry, no second night.
"""

import copy

import pandas as pd
import torch
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from pipeline_lib.data.car_evaluation import car_evaluation

EPOCHS, BATCH_ROWS, LEARNING_RATE, DROPOUT = 150, 64, 0.01, 0.1
HIDDEN = (200, 100, 50)


class Network(nn.Module):
    """Embeddings, then Linear, ReLU, BatchNorm and Dropout, then a linear head."""

    def __init__(self, cardinalities: list[int], n_classes: int) -> None:
        super().__init__()
        widths = [min(50, (n + 1) // 2) for n in cardinalities]
        self.embeddings = nn.ModuleList(
            nn.Embedding(n, width) for n, width in zip(cardinalities, widths, strict=True)
        )
        layers: list[nn.Module] = []
        d_in = sum(widths)
        for d_out in HIDDEN:
            layers += [
                nn.Linear(d_in, d_out),
                nn.ReLU(),
                nn.BatchNorm1d(d_out),
                nn.Dropout(DROPOUT),
            ]
            d_in = d_out
        self.layers = nn.Sequential(*layers, nn.Linear(d_in, n_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(n_rows, n_classes)`` of codes ``(n_rows, n_columns)``."""
        parts = [embed(x[:, i]) for i, embed in enumerate(self.embeddings)]
        return self.layers(torch.cat(parts, dim=1))


def encode(frame: pd.DataFrame) -> tuple[Tensor, Tensor, list[int]]:
    """Turn words into pandas' category codes; return features, classes and cardinalities."""
    words = frame.astype("category")
    x = torch.tensor(words.drop(columns="output").apply(lambda c: c.cat.codes).to_numpy()).long()
    y = torch.tensor(words["output"].cat.codes.to_numpy()).long()
    return x, y, [len(words[name].cat.categories) for name in frame.columns.drop("output")]


def train(network: Network, x: Tensor, y: Tensor, x_val: Tensor, y_val: Tensor) -> None:
    """Train, and leave the weights of the epoch with the lowest validation loss."""
    loss_of = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    n_steps = EPOCHS * -(-len(y) // BATCH_ROWS)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=n_steps)
    best_loss, best_weights = float("inf"), copy.deepcopy(network.state_dict())
    for _ in range(EPOCHS):
        network.train()
        for rows in torch.randperm(len(y)).split(BATCH_ROWS):
            loss = loss_of(network(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        network.eval()
        with torch.no_grad():
            val_loss = float(loss_of(network(x_val), y_val))
        if val_loss < best_loss:
            best_loss, best_weights = val_loss, copy.deepcopy(network.state_dict())
    network.load_state_dict(best_weights)


def main() -> None:
    """Train on 70 % of the rows, choose the epoch on 15 %, and measure on 15 %."""
    torch.manual_seed(0)
    x, y, cardinalities = encode(car_evaluation().to_pandas())
    x_train, x_rest, y_train, y_rest = train_test_split(x, y, test_size=0.3, random_state=0)
    x_val, x_test, y_val, y_test = train_test_split(x_rest, y_rest, test_size=0.5, random_state=0)
    network = Network(cardinalities, n_classes=4)
    train(network, x_train, y_train, x_val, y_val)
    with torch.no_grad():
        predicted = network(x_test).argmax(dim=1)
    print(f"test macro-F1 {f1_score(y_test, predicted, average='macro'):.4f}")


if __name__ == "__main__":
    main()
