# ruff: noqa: E402
"""The same networks and clips in the Trainer of Hugging Face. ``python -m benchmarks.peer_loops.huggingface_loop JOB``

Source: https://huggingface.co/docs/transformers/main_classes/trainer
"""

import sys
import tempfile

# A folder of this name, where recipes look for videos, is taken for the package by transformers.
sys.modules["datasets"] = None

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments

from benchmarks.peer_loops.clips import Clips
from benchmarks.peer_loops.job import Report, begin, factor
from benchmarks.peer_loops.networks import NETWORKS


class WithLoss(nn.Module):
    """Returns what the Trainer reads."""

    def __init__(self, network: nn.Module, smoothing: float) -> None:
        super().__init__()
        self.network, self.criterion = network, nn.CrossEntropyLoss(label_smoothing=smoothing)

    def forward(self, clip: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.network(clip)
        return {"loss": self.criterion(logits, labels), "logits": logits}


class Clock(TrainerCallback):
    def __init__(self, report: Report) -> None:
        self.report = report

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.report.epoch_begins()

    def on_epoch_end(self, args, state, control, **kwargs):
        self.report.epoch_ends()


def collate(items: list[tuple[Tensor, int]]) -> dict[str, Tensor]:
    return {"clip": torch.stack([clip for clip, _ in items]), "labels": torch.tensor([label for _, label in items])}


def main() -> None:
    job, report = begin(), Report()
    train, test = (Clips(items, job.shape, augmented) for items, augmented in ((job.train, True), (job.test, False)))
    network = NETWORKS[job.head](job)
    network(test[0][0][None])  # the lazy layers
    optimizer = torch.optim.AdamW(network.parameters(), job.lr, weight_decay=job.weight_decay)
    steps = job.epochs * -(-len(train) // job.batch_size)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(job, step, steps))
    with tempfile.TemporaryDirectory() as folder:
        options = TrainingArguments(
            output_dir=folder,
            num_train_epochs=job.epochs,
            per_device_train_batch_size=job.batch_size,
            per_device_eval_batch_size=job.batch_size,
            dataloader_num_workers=job.workers,
            max_grad_norm=job.gradient_clip,
            seed=job.seed,
            use_cpu=not torch.cuda.is_available(),
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = Trainer(
            WithLoss(network, job.label_smoothing),
            options,
            data_collator=collate,
            train_dataset=train,
            optimizers=(optimizer, scheduler),
            callbacks=[Clock(report)],
        )
        trainer.train()
        found = trainer.predict(test)
    report.finish(int((found.predictions.argmax(1) == found.label_ids).sum()), len(test))


if __name__ == "__main__":
    main()
