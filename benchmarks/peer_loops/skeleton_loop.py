"""CTR-GCN as its authors train it: files in memory, NumPy for each sequence, SGD.

    python -m benchmarks.peer_loops.skeleton_loop JOB

The network is that of their paper, one subset and branch after the other (https://arxiv.org/abs/2107.12213). The sequences are
NW-UCLA's JSON files.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.naive_skeletons import published
from benchmarks.peer_loops.job import Report, begin, factor
from graphs import skeleton as skeletons
from graphs.bones import adjacency_subsets


class Sequences(Dataset):
    """Sequences (3, T, V, 1) and their labels."""

    def __init__(self, items: list[tuple[str, int]], shape: tuple[int, int], train: bool) -> None:
        self.items, self.frames, self.train = items, shape[0], train
        self.held = [np.array(json.loads(Path(path).read_text())["skeletons"]) for path, _ in items]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        values = self.held[index] - self.held[index][0, 1]
        if self.train:
            values = rotated(values)
        low, high = values.min((0, 1)), values.max((0, 1))
        values = (values - low) / np.where(high > low, high - low, 1) * 2 - 1
        count = len(values)
        if self.train:
            chances = torch.ones(count)
            taken = chances.multinomial(self.frames, replacement=count < self.frames).sort().values.numpy()
        else:
            taken = np.linspace(0, count - 1, self.frames).astype(int)
        sequence = values[taken].transpose(2, 0, 1)[..., None]
        return torch.from_numpy(sequence).float(), self.items[index][1]


def rotated(values: np.ndarray) -> np.ndarray:
    """Turned about x and y by angles of up to 60 degrees."""
    a, b = np.radians((torch.rand(2) * 120 - 60).numpy())
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    return values @ (about_y @ about_x).T


def main() -> None:
    job, report = begin(), Report()
    graph = torch.as_tensor(adjacency_subsets(skeletons.find("nw_ucla")))
    options = job.backbone[1]
    width = options.get("width", 64)
    network = published("ctr_gcn", graph, job.classes, 3, 1, width, [4, 3, 3])
    train, test = (
        DataLoader(Sequences(items, job.shape, train), job.batch_size, shuffle=train, num_workers=job.workers)
        for items, train in ((job.train, True), (job.test, False))
    )
    optimizer = torch.optim.SGD(
        network.parameters(), job.lr, momentum=0.9, nesterov=True, weight_decay=job.weight_decay
    )
    steps = job.epochs * len(train)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(job, step, steps))
    criterion = nn.CrossEntropyLoss()
    for _ in range(job.epochs):
        network.train()
        report.epoch_begins()
        for x, label in train:
            optimizer.zero_grad()
            criterion(network(x), label).backward()
            optimizer.step()
            scheduler.step()
        report.epoch_ends()
    network.eval()
    with torch.no_grad():
        correct = sum(int((network(x).argmax(1) == label).sum()) for x, label in test)
    report.finish(correct, len(job.test))


if __name__ == "__main__":
    main()
