"""A training loop in plain PyTorch: DataLoader, AdamW, cosine, clipping. ``python -m benchmarks.peer_loops.torch_loop JOB``"""

import torch
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.peer_loops.clips import Clips
from benchmarks.peer_loops.job import Report, begin, factor
from benchmarks.peer_loops.networks import NETWORKS


def main() -> None:
    job, report = begin(), Report()
    network = NETWORKS[job.head](job)
    train, test = (
        DataLoader(Clips(items, job.shape, train), job.batch_size, shuffle=train, num_workers=job.workers)
        for items, train in ((job.train, True), (job.test, False))
    )
    network(next(iter(test))[0])  # the lazy layers
    optimizer = torch.optim.AdamW(network.parameters(), job.lr, weight_decay=job.weight_decay)
    steps = job.epochs * len(train)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(job, step, steps))
    criterion = nn.CrossEntropyLoss(label_smoothing=job.label_smoothing)
    for _ in range(job.epochs):
        network.train()
        report.epoch_begins()
        for clip, label in train:
            optimizer.zero_grad()
            criterion(network(clip), label).backward()
            nn.utils.clip_grad_norm_(network.parameters(), job.gradient_clip)
            optimizer.step()
            scheduler.step()
        report.epoch_ends()
    network.eval()
    with torch.no_grad():
        correct = sum(int((network(clip).argmax(1) == label).sum()) for clip, label in test)
    report.finish(correct, len(job.test))


if __name__ == "__main__":
    main()
