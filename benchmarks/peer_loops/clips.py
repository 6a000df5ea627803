"""Clips as most training scripts read them: every frame decoded and kept, then some taken, scaled and normalised."""

import av
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

MEAN, STD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)


class Clips(Dataset):
    """Clips (3, T, H, W) and their labels.

    Args:
        items: path and label of each clip.
        shape: T, H, W.
        train: draws the frame of each segment and a crop; the middle ones otherwise.
    """

    def __init__(self, items: list[tuple[str, int]], shape: tuple[int, int, int], train: bool) -> None:
        self.items, self.frames, self.train = items, shape[0], train
        size = list(shape[1:])
        crop = (
            v2.RandomResizedCrop(size, scale=(0.7, 1.0), antialias=True) if train else v2.Resize(size, antialias=True)
        )
        self.transform = v2.Compose([crop, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self.items[index]
        with av.open(path) as container:
            decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        bounds = np.linspace(0, len(decoded), self.frames + 1)
        shift = torch.rand(self.frames).numpy() if self.train else 0.5
        taken = (bounds[:-1] + shift * np.diff(bounds)).astype(int)
        video = torch.from_numpy(np.stack([decoded[frame] for frame in taken])).permute(0, 3, 1, 2)
        return self.transform(video).transpose(0, 1), label
