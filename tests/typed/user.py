"""What users write, for a type checker: checked by test_typed.py, never run. An ignored line must be wrong."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from typing_extensions import assert_type

import graphs
import taggnn
from taggnn.heads import PoolHead, TagHead

loaded = taggnn.load(Path("runs") / "folder" / "TIME")
assert_type(loaded, taggnn.Loaded)
assert_type(taggnn.load("best.ckpt", trust=True).spec, taggnn.InputSpec)
assert_type(loaded.to("cuda").predict("clip.mp4", views=3, crops=3, average="logits"), taggnn.Prediction)
assert_type(loaded.predict(torch.zeros(8, 32, 32, 3, dtype=torch.uint8)), taggnn.Prediction)
assert_type(loaded.predict(["a.mp4", Path("b.mp4")], top=1), Iterator[taggnn.Prediction])
for prediction in loaded.predict(Path("clips").glob("*.mp4")):
    assert_type(prediction.error, str | None)
    assert_type(prediction.best, taggnn.Guess)
    assert_type(prediction.best.name, str)
    assert_type(prediction.probabilities, Tensor)
assert_type(loaded.logits(torch.stack([loaded.clip("clip.mp4")])), Tensor)
loaded.predict(3)  # type: ignore[call-overload]
loaded.predict("clip.mp4", average="median")  # type: ignore[call-overload]
print(loaded.predict("clip.mp4").name)  # type: ignore[attr-defined]

model = taggnn.attach(nn.Conv3d(3, 8, 3), "tag", classes=99, conv="gatv2")
assert_type(model, taggnn.Recogniser)
assert_type(model(torch.zeros(1, 3, 16, 112, 112)), taggnn.Output)
assert_type(model(torch.zeros(1, 3, 16, 112, 112), torch.zeros(1, dtype=torch.long)).losses, dict[str, Tensor])
assert_type(model.features(torch.zeros(1, 3, 16, 112, 112)), taggnn.Features)
assert_type(model.spec, taggnn.InputSpec)
model.accepting(model.spec)(model.spec.example(2)).logits.argmax(-1)
assert_type(taggnn.load_released("gym99_best.pth", dataset="gym99").classes, tuple[str, ...])
taggnn.attach(3)  # type: ignore[arg-type]


class Joints(nn.Module):
    def forward(self, x: Tensor) -> taggnn.Features:
        return taggnn.Features(x.mean(-1).movedim(1, -1), {"spread": x.var()})


class Linear(nn.Module):
    def __init__(self, channels: int, grid: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(channels, classes)

    def forward(self, tokens: Tensor, targets: Tensor | None = None) -> taggnn.Output:
        return taggnn.Output(self.classifier(tokens.flatten(1, -2).mean(1)))


poses = taggnn.InputSpec("mine.Poses", ("channel", "frame", "joint", "person"), (3, 64, 25, 2))
assert_type(taggnn.attach(Joints, Linear, 60, input=poses), taggnn.Recogniser)
assert_type(taggnn.attach(Joints(), Linear(3, (64, 25), 60), input=poses), taggnn.Recogniser)
assert_type(taggnn.attach("mine.Joints", "mine.Linear", 60, input=poses), taggnn.Recogniser)
taggnn.attach(Joints(), input=(3, 64, 25, 2))  # type: ignore[arg-type]
print(taggnn.attached)  # type: ignore[attr-defined]

head = TagHead(512, (8, 7, 7), 99, topology=graphs.Clique() + graphs.Chain(reach=2), readout="mean")
logits, extras = head(torch.zeros(1, 8, 7, 7, 512))
answer = head(torch.zeros(1, 8, 7, 7, 512), torch.zeros(1, dtype=torch.long))
assert_type(answer.logits, Tensor)
assert_type(answer.extras, dict[str, Tensor])
assert_type(answer.losses, dict[str, Tensor])
TagHead(512, (8, 17), 99, conv=nn.Linear, topology=graphs.Chain, readout=nn.Identity)
assert_type(TagHead.released(512, (8, 7, 7), 99), TagHead)
assert_type(PoolHead(512, (8, 7, 7), 99)(torch.zeros(1, 8, 7, 7, 512)), taggnn.Output)
assert_type(taggnn.heads.build("tag", 512, (8, 7, 7), 99, conv="sage"), nn.Module)
assert_type(graphs.parse("clique+chain"), graphs.Topology)
TagHead(512, (8, 7, 7), 99, position="sine")  # type: ignore[arg-type]
TagHead("512", (8, 7, 7), 99)  # type: ignore[arg-type]
