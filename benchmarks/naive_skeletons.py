"""Skeleton networks as their papers write them: one subset, branch and layer after the other, for comparison.

Only torch, and no code of taggnn: the names and shapes of the state dicts are the published ones, the classifier included.
Sources: ST-GCN https://arxiv.org/abs/1801.07455, 2s-AGCN https://arxiv.org/abs/1805.07694, AAGCN https://arxiv.org/abs/1912.06971,
CTR-GCN https://arxiv.org/abs/2107.12213, ST-GCN++ https://arxiv.org/abs/2205.09443.

Axes: N clips and persons, C channels, T frames, V joints, M persons, K classes.
"""

import torch
from torch import Tensor, nn


def published(
    name: str, graph: Tensor, classes: int, channels: int, persons: int, width: int, depths: list[int]
) -> nn.Module:
    """A network with its classifier.

    Args:
        name: key of ``NETWORKS``.
        graph: the adjacency of three subsets.
        classes: K.
        channels: of the coordinates.
        persons: M.
        width: channels of the first blocks.
        depths: blocks of each width; the widths double.

    **Shapes:** (N, C, T, V, M) -> (N, K)
    """
    return NETWORKS[name](graph, classes, channels, persons, width, depths)


def _sizes(channels, width, depths):
    """Input, output, stride of every block."""
    sizes = []
    for stage, depth in enumerate(depths):
        for number in range(depth):
            sizes.append((channels, width * 2**stage, 2 if stage > 0 and number == 0 else 1))
            channels = width * 2**stage
    return sizes


class ConvNorm(nn.Module):
    """A temporal convolution of ``kernel`` frames and BatchNorm."""

    def __init__(self, channels, out, kernel, stride=1, dilation=1, norm=True):
        super().__init__()
        padding = dilation * (kernel - 1) // 2
        self.conv = nn.Conv2d(channels, out, (kernel, 1), (stride, 1), (padding, 0), (dilation, 1))
        if norm:
            self.bn = nn.BatchNorm2d(out)

    def forward(self, x):
        x = self.conv(x)
        return self.bn(x) if hasattr(self, "bn") else x


def _down(channels, out):
    return nn.Sequential(nn.Conv2d(channels, out, 1), nn.BatchNorm2d(out))


class Network(nn.Module):
    """Coordinates normalised, persons folded, blocks, mean over frames and joints, then persons, then the classifier."""

    per_person = False

    def __init__(self, graph, classes, channels, persons, width, depths):
        super().__init__()
        self.persons = persons
        joints = graph.shape[-1]
        self.data_bn = nn.BatchNorm1d(joints * channels * (1 if self.per_person else persons))
        self.make(graph, channels, width, depths)
        self.classifier(width * 2 ** (len(depths) - 1), classes)

    def classifier(self, channels, classes):
        self.fc = nn.Linear(channels, classes)

    def last_map(self, x):
        """**Shapes:** (N, C, T, V, M) -> (N, M, C', T', V)"""
        clips, channels, frames, joints, persons = x.shape
        x = x.permute(0, 4, 3, 1, 2).contiguous()
        x = x.view(clips * persons, -1, frames) if self.per_person else x.view(clips, -1, frames)
        x = self.data_bn(x).view(clips, persons, joints, channels, frames)
        x = x.permute(0, 1, 3, 4, 2).contiguous().view(clips * persons, channels, frames, joints)
        return self.run(x).view(clips, persons, -1, *self.run_shape)

    def run(self, x):
        for block in self.sequence():
            x = block(x)
        self.run_shape = x.shape[-2:]
        return x

    def features(self, x):
        return self.last_map(x).mean((3, 4)).mean(1)

    def forward(self, x):
        return self.fc(self.features(x))


class Block(nn.Module):
    """GCN, TCN and a shortcut under the names of a family."""

    names = ("gcn1", "tcn1")

    def __init__(self, gcn, tcn, channels, out, stride, first, names=("gcn1", "tcn1")):
        super().__init__()
        self.names, self.first, self.same = names, first, channels == out and stride == 1
        setattr(self, names[0], gcn)
        setattr(self, names[1], tcn)
        if not first and not self.same:
            self.residual = ConvNorm(channels, out, 1, stride)

    def forward(self, x):
        gcn, tcn = (getattr(self, name) for name in self.names)
        y = tcn(gcn(x))
        if not self.first:
            y = y + (x if self.same else self.residual(x))
        return y.relu()


class ChannelTopology(nn.Module):
    """One subset of CTR-GCN."""

    def __init__(self, channels, out):
        super().__init__()
        relations = 8 if channels < 64 else channels // 8
        self.conv1, self.conv2 = nn.Conv2d(channels, relations, 1), nn.Conv2d(channels, relations, 1)
        self.conv3, self.conv4 = nn.Conv2d(channels, out, 1), nn.Conv2d(relations, out, 1)

    def forward(self, x, graph, alpha):
        one, two = self.conv1(x).mean(-2), self.conv2(x).mean(-2)
        relations = torch.tanh(one.unsqueeze(-1) - two.unsqueeze(-2))
        return torch.einsum("ncuv,nctv->nctu", self.conv4(relations) * alpha + graph, self.conv3(x))


class RefinedGCN(nn.Module):
    def __init__(self, channels, out, graph):
        super().__init__()
        self.convs = nn.ModuleList(ChannelTopology(channels, out) for _ in range(3))
        if channels != out:
            self.down = _down(channels, out)
        self.PA, self.alpha = nn.Parameter(graph.clone()), nn.Parameter(torch.zeros(1))
        self.bn = nn.BatchNorm2d(out)

    def forward(self, x):
        y = 0
        for number in range(3):
            y = y + self.convs[number](x, self.PA[number], self.alpha)
        return (self.bn(y) + (self.down(x) if hasattr(self, "down") else x)).relu()


class FourBranches(nn.Module):
    def __init__(self, channels, stride):
        super().__init__()
        part = channels // 4

        def entry(step=1):
            return nn.Conv2d(channels, part, 1, (step, 1)), nn.BatchNorm2d(part)

        self.branches = nn.ModuleList(
            nn.Sequential(*entry(), nn.ReLU(), ConvNorm(part, part, 5, stride, dilation)) for dilation in (1, 2)
        )
        pool = nn.MaxPool2d((3, 1), (stride, 1), (1, 0))
        self.branches.append(nn.Sequential(*entry(), nn.ReLU(), pool, nn.BatchNorm2d(part)))
        self.branches.append(nn.Sequential(*entry(stride)))

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], 1)


class CTRGCN(Network):
    def make(self, graph, channels, width, depths):
        sizes = _sizes(channels, width, depths)
        self.count = len(sizes)
        for number, (wide, out, stride) in enumerate(sizes):
            gcn, tcn = self.parts(wide, out, stride, graph)
            setattr(self, f"l{number + 1}", Block(gcn, tcn, wide, out, stride, number == 0))

    def parts(self, channels, out, stride, graph):
        return RefinedGCN(channels, out, graph), FourBranches(out, stride)

    def sequence(self):
        return [getattr(self, f"l{number + 1}") for number in range(self.count)]


class AdaptiveGCN(nn.Module):
    """2s-AGCN: a fixed graph, a learned one, and one of the similarity of joints; each subset has its own convolution."""

    def __init__(self, channels, out, graph):
        super().__init__()
        self.PA = nn.Parameter(torch.full_like(graph, 1e-6))
        self.graph, self.inner = graph, out // 4
        self.conv_a = nn.ModuleList(nn.Conv2d(channels, out // 4, 1) for _ in range(3))
        self.conv_b = nn.ModuleList(nn.Conv2d(channels, out // 4, 1) for _ in range(3))
        self.conv_d = nn.ModuleList(nn.Conv2d(channels, out, 1) for _ in range(3))
        if channels != out:
            self.down = _down(channels, out)
        self.bn = nn.BatchNorm2d(out)

    def forward(self, x):
        y = 0
        for number in range(3):
            one, two = self.conv_a[number](x), self.conv_b[number](x)
            similar = torch.einsum("nctu,nctv->nuv", one, two) / (self.inner * x.shape[2])
            graph = self.graph[number].to(x) + self.PA[number] + similar.softmax(-2)
            y = y + self.conv_d[number](torch.einsum("nctu,nuv->nctv", x, graph))
        return (self.bn(y) + (self.down(x) if hasattr(self, "down") else x)).relu()


class AGCN(CTRGCN):
    def parts(self, channels, out, stride, graph):
        return AdaptiveGCN(channels, out, graph), ConvNorm(out, out, 9, stride)


class AttentionGCN(nn.Module):
    """AAGCN: the similarity is scaled, and joints, frames and channels are weighted one after the other."""

    def __init__(self, channels, out, graph):
        super().__init__()
        joints = graph.shape[-1]
        self.A, self.alpha, self.inner = nn.Parameter(graph.clone()), nn.Parameter(torch.zeros(1)), out // 4
        self.conv_a = nn.ModuleList(nn.Conv2d(channels, out // 4, 1) for _ in range(3))
        self.conv_b = nn.ModuleList(nn.Conv2d(channels, out // 4, 1) for _ in range(3))
        self.conv_d = nn.ModuleList(nn.Conv2d(channels, out, 1) for _ in range(3))
        kernel = joints if joints % 2 else joints - 1
        self.conv_ta = nn.Conv1d(out, 1, 9, padding=4)
        self.conv_sa = nn.Conv1d(out, 1, kernel, padding=(kernel - 1) // 2)
        self.fc1c, self.fc2c = nn.Linear(out, out // 2), nn.Linear(out // 2, out)
        if channels != out:
            self.down = _down(channels, out)
        self.bn = nn.BatchNorm2d(out)

    def forward(self, x):
        y = 0
        for number in range(3):
            one, two = self.conv_a[number](x), self.conv_b[number](x)
            similar = torch.einsum("nctu,nctv->nuv", one, two) / (self.inner * x.shape[2])
            graph = self.A[number] + similar.tanh() * self.alpha
            y = y + self.conv_d[number](torch.einsum("nctu,nuv->nctv", x, graph))
        y = (self.bn(y) + (self.down(x) if hasattr(self, "down") else x)).relu()
        y = y + y * self.conv_sa(y.mean(2)).sigmoid()[:, :, None]
        y = y + y * self.conv_ta(y.mean(3)).sigmoid()[:, :, :, None]
        return y + y * self.fc2c(self.fc1c(y.mean((2, 3))).relu()).sigmoid()[:, :, None, None]


class AAGCN(Network):
    def make(self, graph, channels, width, depths):
        self.gcn = nn.ModuleList(
            Block(*self.parts(wide, out, stride, graph), wide, out, stride, number == 0, ("gcn", "tcn"))
            for number, (wide, out, stride) in enumerate(_sizes(channels, width, depths))
        )

    def parts(self, channels, out, stride, graph):
        return AttentionGCN(channels, out, graph), ConvNorm(out, out, 9, stride)

    def sequence(self):
        return self.gcn


class LearnedGCN(nn.Module):
    """ST-GCN++: three learned graphs, one convolution to all of them, a shortcut."""

    def __init__(self, channels, out, graph):
        super().__init__()
        self.A, self.conv = nn.Parameter(graph.clone()), nn.Conv2d(channels, 3 * out, 1)
        self.bn = nn.BatchNorm2d(out)
        if channels != out:
            self.down = _down(channels, out)

    def forward(self, x):
        y = self.conv(x)
        y = y.view(len(y), 3, -1, *y.shape[2:])
        y = sum(torch.einsum("nctv,vw->nctw", y[:, number], self.A[number]) for number in range(3))
        return (self.bn(y) + (self.down(x) if hasattr(self, "down") else x)).relu()


class SixBranches(nn.Module):
    def __init__(self, channels, stride):
        super().__init__()
        part = channels // 6
        wide = channels - 5 * part
        self.branches = nn.ModuleList()
        for number in range(5):
            size = wide if number == 0 else part
            last = (
                ConvNorm(size, size, 3, stride, number + 1, norm=False)
                if number < 4
                else nn.MaxPool2d((3, 1), (stride, 1), (1, 0))
            )
            self.branches.append(nn.Sequential(nn.Conv2d(channels, size, 1), nn.BatchNorm2d(size), nn.ReLU(), last))
        self.branches.append(nn.Conv2d(channels, part, 1, (stride, 1)))
        self.transform = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels, 1))
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x):
        return self.bn(self.transform(torch.cat([branch(x) for branch in self.branches], 1)))


class STGCNPlusPlus(AAGCN):
    per_person = True

    def parts(self, channels, out, stride, graph):
        return LearnedGCN(channels, out, graph), SixBranches(out, stride)


class Partitioned(nn.Module):
    """ST-GCN: a convolution to all three subsets of a fixed graph."""

    def __init__(self, channels, out):
        super().__init__()
        self.conv = nn.Conv2d(channels, 3 * out, 1)

    def forward(self, x, graph):
        y = self.conv(x)
        y = y.view(len(y), 3, -1, *y.shape[2:])
        return sum(torch.einsum("nctv,vw->nctw", y[:, number], graph[number]) for number in range(3))


class STGCNBlock(nn.Module):
    def __init__(self, channels, out, stride, first):
        super().__init__()
        self.first = first
        self.gcn = Partitioned(channels, out)
        self.tcn = nn.Sequential(
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.Conv2d(out, out, (9, 1), (stride, 1), (4, 0)),
            nn.BatchNorm2d(out),
        )
        if not first and (channels != out or stride != 1):
            self.residual = nn.Sequential(nn.Conv2d(channels, out, 1, (stride, 1)), nn.BatchNorm2d(out))

    def forward(self, x, graph):
        y = self.tcn(self.gcn(x, graph))
        if not self.first:
            y = y + (self.residual(x) if hasattr(self, "residual") else x)
        return y.relu()


class STGCN(Network):
    per_person = True

    def make(self, graph, channels, width, depths):
        self.register_buffer("A", graph.clone())
        sizes = _sizes(channels, width, depths)
        self.st_gcn_networks = nn.ModuleList(STGCNBlock(*size, number == 0) for number, size in enumerate(sizes))
        self.edge_importance = nn.ParameterList(torch.ones_like(graph) for _ in sizes)

    def classifier(self, channels, classes):
        self.fcn = nn.Conv2d(channels, classes, 1)

    def run(self, x):
        for block, importance in zip(self.st_gcn_networks, self.edge_importance, strict=True):
            x = block(x, self.A * importance)
        self.run_shape = x.shape[-2:]
        return x

    def forward(self, x):
        return self.fcn(self.features(x)[:, :, None, None])[:, :, 0, 0]


class SFGate(nn.Module):
    """Maximum and mean over the first dimension, a convolution of 7 x 7, a weight for every element of the two others."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Module()
        self.conv.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.conv.bn = nn.BatchNorm2d(1)

    def forward(self, x):
        pooled = torch.stack([x.max(1).values, x.mean(1)], 1)
        return x * self.conv.bn(self.conv.conv(pooled)).sigmoid()


class SFHead(nn.Module):
    """The plug of https://arxiv.org/abs/2412.14833, group by group."""

    def __init__(self, channels, groups=8):
        super().__init__()
        self.groups, part = groups, channels // (4 * groups)
        self.gn = nn.GroupNorm(part, part)
        self.cweight, self.sweight = nn.Parameter(torch.zeros(1, part, 1, 1)), nn.Parameter(torch.zeros(1, part, 1, 1))
        self.cbias, self.sbias = nn.Parameter(torch.ones(1, part, 1, 1)), nn.Parameter(torch.ones(1, part, 1, 1))
        self.w = nn.Parameter(torch.ones(4))
        self.cv, self.tc, self.tv = SFGate(), SFGate(), SFGate()
        self.bn = nn.BatchNorm2d(part)

    def parts(self, x):
        """f_t, f_s, f_r and x4 of all groups. **Shapes:** (N, C, T, V) -> four of (N*G, c, T, V)"""
        size = x.shape[1] // self.groups
        folded = torch.stack([x[:, size * group : size * (group + 1)] for group in range(self.groups)], 1).flatten(0, 1)
        quarter = size // 4
        x1, x2, x3, x4 = (folded[:, quarter * number : quarter * (number + 1)] for number in range(4))
        f_t = x1 * torch.sigmoid(self.cweight * x1.mean(dim=(2, 3), keepdim=True) + self.cbias)
        f_s = x3 * torch.sigmoid(self.sweight * self.gn(x3) + self.sbias)
        one = self.cv(f_t.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)
        two = self.tc(f_s.permute(0, 3, 2, 1)).permute(0, 3, 2, 1)
        three = self.tv(x2)
        share = self.w.exp() / self.w.exp().sum()
        return f_t, f_s, share[0] * one + share[1] * two + share[2] * three + share[3] * x2, x4

    def forward(self, x):
        rows = torch.cat(self.parts(x), 1)
        rows = rows.reshape(len(x), x.shape[1], *x.shape[2:])
        half = x.shape[1] // 2
        return torch.stack([rows[:, channel % 2 * half + channel // 2] for channel in range(x.shape[1])], 1)


NETWORKS = {"st_gcn": STGCN, "st_gcn++": STGCNPlusPlus, "agcn": AGCN, "aagcn": AAGCN, "ctr_gcn": CTRGCN}
