"""Networks of the literature with pool and classifier, small: the structure and the shapes of their public code.

Axes: B clips, C channels, T frames, H W pixels or token grid, N tokens, K classes.
"""

import torch
from torch import nn
from torch.nn import functional as F


def conv_bn(channels, out, kernel=3, stride=1, groups=1, activation=nn.ReLU):
    padding = tuple(k // 2 for k in kernel) if isinstance(kernel, tuple) else kernel // 2
    return nn.Sequential(
        nn.Conv3d(channels, out, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm3d(out),
        *([] if activation is None else [activation(inplace=True)]),
    )


class ResidualBlock(nn.Module):
    def __init__(self, channels, out, stride=1):
        super().__init__()
        self.conv1 = nn.Conv3d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv3d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm3d(out)
        self.downsample = conv_bn(channels, out, 1, stride, activation=None) if stride != 1 else None

    def forward(self, x):
        residual = x if self.downsample is None else self.downsample(x)
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += residual
        return self.relu(out)


class ResNet3D(nn.Module):
    """Hara et al., https://arxiv.org/abs/1711.09577: averaged by a pool, flattened by view."""

    def __init__(self, classes=5, width=8):
        super().__init__()
        self.conv1 = nn.Conv3d(3, width, 7, (1, 2, 2), 3, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool3d(3, 2, 1)
        self.layer1 = nn.Sequential(ResidualBlock(width, width), ResidualBlock(width, width))
        self.layer2 = nn.Sequential(ResidualBlock(width, 2 * width, 2))
        self.avgpool = nn.AdaptiveAvgPool3d((1, 1, 1))
        self.fc = nn.Linear(2 * width, classes)

    def forward(self, x):
        x = self.layer2(self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x))))))
        x = self.avgpool(x)
        return self.fc(x.view(x.size(0), -1))


class ShuffleBlock(nn.Module):
    def __init__(self, channels, out, stride, groups):
        super().__init__()
        self.stride, self.groups = stride, groups
        middle = out // 4
        rest = out - channels if stride == 2 else out
        self.conv1 = nn.Conv3d(channels, middle, 1, groups=groups, bias=False)
        self.bn1 = nn.BatchNorm3d(middle)
        self.conv2 = nn.Conv3d(middle, middle, 3, stride, 1, groups=middle, bias=False)
        self.bn2 = nn.BatchNorm3d(middle)
        self.conv3 = nn.Conv3d(middle, rest, 1, groups=groups, bias=False)
        self.bn3 = nn.BatchNorm3d(rest)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.AvgPool3d((2, 3, 3), 2, (0, 1, 1))

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        batch, channels = out.shape[:2]
        out = out.view(batch, self.groups, channels // self.groups, *out.shape[2:]).transpose(1, 2)
        out = out.contiguous().view(batch, channels, *out.shape[3:])
        out = self.bn3(self.conv3(self.bn2(self.conv2(out))))
        return self.relu(torch.cat([out, self.shortcut(x)], 1)) if self.stride == 2 else self.relu(out + x)


class ShuffleNet3D(nn.Module):
    """Koepueklue et al., https://arxiv.org/abs/1904.02422: ``F.avg_pool3d`` over what is left."""

    def __init__(self, classes=5, groups=2):
        super().__init__()
        self.conv1 = conv_bn(3, 8, 3, (1, 2, 2))
        self.maxpool = nn.MaxPool3d(3, 2, 1)
        self.layer1 = nn.Sequential(ShuffleBlock(8, 24, 2, groups), ShuffleBlock(24, 24, 1, groups))
        self.layer2 = nn.Sequential(ShuffleBlock(24, 48, 2, groups), ShuffleBlock(48, 48, 1, groups))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(48, classes))

    def forward(self, x):
        out = self.layer2(self.layer1(self.maxpool(self.conv1(x))))
        out = F.avg_pool3d(out, out.data.size()[-3:])
        return self.classifier(out.view(out.size(0), -1))


class Inverted(nn.Module):
    def __init__(self, channels, out, stride, expansion, squeeze=False):
        super().__init__()
        hidden = channels * expansion
        self.residual = channels == out and stride == 1
        self.expand = conv_bn(channels, hidden, 1, activation=nn.ReLU6)
        self.depth = conv_bn(hidden, hidden, 3, stride, groups=hidden, activation=nn.ReLU6)
        self.squeeze = (
            nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Conv3d(hidden, hidden, 1), nn.Sigmoid()) if squeeze else None
        )
        self.project = conv_bn(hidden, out, 1, activation=None)

    def forward(self, x):
        out = self.depth(self.expand(x))
        if self.squeeze is not None:
            out = out * self.squeeze(out)
        out = self.project(out)
        return x + out if self.residual else out


class MobileNet3D(nn.Module):
    """MobileNetV2 in 3D, https://arxiv.org/abs/1904.02422: one nn.Sequential, ``F.avg_pool3d``, view."""

    def __init__(self, classes=5):
        super().__init__()
        self.features = nn.Sequential(
            conv_bn(3, 8, 3, (1, 2, 2), activation=nn.ReLU6),
            Inverted(8, 8, 1, 2),
            Inverted(8, 16, 2, 3),
            Inverted(16, 16, 1, 3),
            conv_bn(16, 40, 1, activation=nn.ReLU6),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(40, classes))

    def forward(self, x):
        x = self.features(x)
        x = F.avg_pool3d(x, x.data.size()[-3:])
        return self.classifier(x.view(x.size(0), -1))


class DenseLayer(nn.Sequential):
    def __init__(self, channels, growth):
        super().__init__(
            nn.BatchNorm3d(channels), nn.ReLU(inplace=True), nn.Conv3d(channels, growth, 3, padding=1, bias=False)
        )

    def forward(self, x):
        return torch.cat([x, super().forward(x)], 1)


class DenseNet3D(nn.Module):
    """Hara et al.: the last ReLU and the pool are functions, the ReLU in place on the output of the last layer."""

    def __init__(self, classes=5):
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module("conv1", nn.Conv3d(3, 8, 7, (1, 2, 2), 3, bias=False))
        self.features.add_module("norm1", nn.BatchNorm3d(8))
        self.features.add_module("relu1", nn.ReLU(inplace=True))
        self.features.add_module("pool1", nn.MaxPool3d(3, 2, 1))
        self.features.add_module("denseblock1", nn.Sequential(DenseLayer(8, 4), DenseLayer(12, 4)))
        self.features.add_module("transition1", nn.Sequential(nn.Conv3d(16, 8, 1, bias=False), nn.AvgPool3d(2, 2)))
        self.features.add_module("norm5", nn.BatchNorm3d(8))
        self.classifier = nn.Linear(8, classes)

    def forward(self, x):
        features = self.features(x)
        out = F.relu(features, inplace=True)
        out = F.adaptive_avg_pool3d(out, output_size=(1, 1, 1)).view(features.size(0), -1)
        return self.classifier(out)


class SqueezeNet3D(nn.Module):
    """https://arxiv.org/abs/1904.02422: the classifier is a convolution, the pool comes after it."""

    def __init__(self, classes=5):
        super().__init__()
        self.features = nn.Sequential(conv_bn(3, 8, 3, (1, 2, 2)), nn.MaxPool3d(3, 2, 1), conv_bn(8, 16, 3))
        self.classifier = nn.Sequential(
            nn.Dropout(0.5), nn.Conv3d(16, classes, 1), nn.ReLU(inplace=True), nn.AvgPool3d((4, 8, 8), stride=1)
        )

    def forward(self, x):
        x = self.classifier(self.features(x))
        return x.view(x.size(0), -1)


class C3D(nn.Module):
    """Tran et al., https://arxiv.org/abs/1412.0767: the last map is flattened, and three linear layers follow."""

    def __init__(self, classes=5):
        super().__init__()
        self.conv1 = nn.Conv3d(3, 8, 3, padding=1)
        self.pool1 = nn.MaxPool3d((1, 2, 2), (1, 2, 2))
        self.conv2 = nn.Conv3d(8, 16, 3, padding=1)
        self.pool2 = nn.MaxPool3d(2, 2)
        self.pool5 = nn.MaxPool3d(2, 2, padding=(0, 1, 1))
        self.fc6 = nn.Linear(16 * 2 * 5 * 5, 32)
        self.fc7 = nn.Linear(32, 32)
        self.fc8 = nn.Linear(32, classes)
        self.dropout = nn.Dropout(0.5)
        self.relu = nn.ReLU()

    def forward(self, x):
        x = self.pool1(self.relu(self.conv1(x)))
        x = self.pool5(self.pool2(self.relu(self.conv2(x))))
        x = self.dropout(self.relu(self.fc6(x.view(-1, 16 * 2 * 5 * 5))))
        return self.fc8(self.dropout(self.relu(self.fc7(x))))


class TSM(nn.Module):
    """Lin et al., https://arxiv.org/abs/1811.08383: frames are images, view(-1, 3, H, W); logits of the frames are averaged."""

    def __init__(self, classes=5, segments=8):
        super().__init__()
        self.segments = segments
        self.conv1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = nn.Conv2d(8, 16, 3, 2, 1)
        self.layer2 = nn.Conv2d(16, 24, 3, 2, 1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.5)
        self.new_fc = nn.Linear(24, classes)

    def shift(self, x, share=8):
        x = x.view(-1, self.segments, *x.shape[1:])
        fold = x.shape[2] // share
        out = torch.zeros_like(x)
        out[:, :-1, :fold] = x[:, 1:, :fold]
        out[:, 1:, fold : 2 * fold] = x[:, :-1, fold : 2 * fold]
        out[:, :, 2 * fold :] = x[:, :, 2 * fold :]
        return out.flatten(0, 1)

    def forward(self, x):
        x = x.view(-1, 3, *x.shape[-2:])
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.layer1(self.shift(x)))
        x = F.relu(self.layer2(self.shift(x)))
        x = torch.flatten(self.avgpool(x), 1)
        x = self.new_fc(self.dropout(x))
        return x.view(-1, self.segments, x.shape[-1]).mean(dim=1, keepdim=True).squeeze(1)


class CausalConv(nn.Module):
    """A convolution over time that keeps the last frames of the clip before, in a plain attribute."""

    def __init__(self, channels, out, stride=1):
        super().__init__()
        self.conv = nn.Conv3d(channels, out, 3, (1, stride, stride), (0, 1, 1), bias=False)
        self.activation = None

    def forward(self, x):
        if self.activation is None or len(self.activation) != len(x):
            self.activation = torch.zeros_like(x[:, :, :2])
        x = torch.cat([self.activation, x], 2)
        self.activation = x[:, :, -2:].detach()
        return self.conv(x)


class MoViNet(nn.Module):
    """Kondratyuk et al., https://arxiv.org/abs/2103.11511: streams in plain attributes, two convolutions after the pool."""

    def __init__(self, classes=5):
        super().__init__()
        self.conv1 = CausalConv(3, 8, 2)
        self.blocks = nn.Sequential(Inverted(8, 8, 1, 2, squeeze=True), Inverted(8, 16, (1, 2, 2), 2, squeeze=True))
        self.conv7 = conv_bn(16, 24, 1, activation=nn.Hardswish)
        self.classifier = nn.Sequential(
            nn.Conv3d(24, 40, 1), nn.Hardswish(), nn.Dropout(0.2), nn.Conv3d(40, classes, 1)
        )

    def forward(self, x):
        x = self.conv7(self.blocks(F.hardswish(self.conv1(x))))
        x = F.adaptive_avg_pool3d(x, (x.shape[2], 1, 1)).mean(2, keepdim=True)
        return self.classifier(x).flatten(1)


class Attention(nn.Module):
    def __init__(self, dim, heads=2):
        super().__init__()
        self.heads, self.scale = heads, (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        batch, tokens, dim = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * self.scale).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, tokens, dim))


class Mlp(nn.Sequential):
    def __init__(self, dim):
        super().__init__(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))


class DividedBlock(nn.Module):
    """Attention over time, then over space; the class token is copied to each frame and averaged."""

    def __init__(self, dim):
        super().__init__()
        self.temporal_norm1, self.temporal_attn, self.temporal_fc = (
            nn.LayerNorm(dim),
            Attention(dim),
            nn.Linear(dim, dim),
        )
        self.norm1, self.attn = nn.LayerNorm(dim), Attention(dim)
        self.norm2, self.mlp = nn.LayerNorm(dim), Mlp(dim)

    def forward(self, x, frames):
        batch, _, dim = x.shape
        xt = x[:, 1:].reshape(-1, frames, dim)
        xt = x[:, 1:] + self.temporal_fc(self.temporal_attn(self.temporal_norm1(xt))).reshape(batch, -1, dim)
        cls = x[:, :1].repeat(1, frames, 1).reshape(batch * frames, 1, dim)
        xs = xt.reshape(batch, -1, frames, dim).transpose(1, 2).reshape(batch * frames, -1, dim)
        xs = self.attn(self.norm1(torch.cat([cls, xs], 1)))
        cls = xs[:, 0].reshape(batch, frames, dim).mean(1, keepdim=True)
        xs = xs[:, 1:].reshape(batch, frames, -1, dim).transpose(1, 2).reshape(batch, -1, dim)
        x = torch.cat([x[:, :1], xt], 1) + torch.cat([cls, xs], 1)
        return x + self.mlp(self.norm2(x))


class TimeSformer(nn.Module):
    """Bertasius et al., https://arxiv.org/abs/2102.05095: tokens (h w t), time the fastest; the class token is classified."""

    def __init__(self, classes=5, dim=16, patch=16, size=32, frames=4):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + (size // patch) ** 2, dim))
        self.time_embed = nn.Parameter(torch.randn(1, frames, dim))
        self.blocks = nn.ModuleList([DividedBlock(dim) for _ in range(2)])
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)

    def forward_features(self, x):
        batch, _, frames = x.shape[:3]
        x = self.proj(x.transpose(1, 2).flatten(0, 1)).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        cls = x[:batch, :1]
        x = x[:, 1:].reshape(batch, frames, -1, x.shape[-1]).transpose(1, 2) + self.time_embed[:, None]
        x = torch.cat([cls, x.flatten(1, 2)], 1)
        for block in self.blocks:
            x = block(x, frames)
        return self.norm(x)[:, 0]

    def forward(self, x):
        return self.head(self.forward_features(x))


class UniFormer(nn.Module):
    """Li et al., https://arxiv.org/abs/2201.04676: convolution, then attention; BatchNorm, ``flatten(2).mean(-1)``, linear."""

    class Local(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.pos_embed = nn.Conv3d(dim, dim, 3, padding=1, groups=dim)
            self.norm1 = nn.BatchNorm3d(dim)
            self.attn = nn.Conv3d(dim, dim, 5, padding=2, groups=dim)
            self.mlp = nn.Sequential(nn.Conv3d(dim, 2 * dim, 1), nn.GELU(), nn.Conv3d(2 * dim, dim, 1))

        def forward(self, x):
            x = x + self.pos_embed(x)
            x = x + self.attn(self.norm1(x))
            return x + self.mlp(x)

    class Global(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.pos_embed = nn.Conv3d(dim, dim, 3, padding=1, groups=dim)
            self.norm1, self.attn, self.norm2, self.mlp = nn.LayerNorm(dim), Attention(dim), nn.LayerNorm(dim), Mlp(dim)

        def forward(self, x):
            x = x + self.pos_embed(x)
            batch, channels, frames, height, width = x.shape
            x = x.flatten(2).transpose(1, 2)
            x = x + self.attn(self.norm1(x))
            x = x + self.mlp(self.norm2(x))
            return x.transpose(1, 2).reshape(batch, channels, frames, height, width)

    def __init__(self, classes=5):
        super().__init__()
        self.patch_embed1 = nn.Conv3d(3, 8, (3, 4, 4), (2, 4, 4), (1, 0, 0))
        self.blocks1 = nn.ModuleList([self.Local(8)])
        self.patch_embed2 = nn.Conv3d(8, 16, (1, 2, 2), (1, 2, 2))
        self.blocks2 = nn.ModuleList([self.Global(16), self.Global(16)])
        self.norm = nn.BatchNorm3d(16)
        self.pre_logits = nn.Identity()
        self.head = nn.Linear(16, classes)

    def forward_features(self, x):
        x = self.patch_embed1(x)
        for block in self.blocks1:
            x = block(x)
        x = self.patch_embed2(x)
        for block in self.blocks2:
            x = block(x)
        return self.pre_logits(self.norm(x))

    def forward(self, x):
        return self.head(self.forward_features(x).flatten(2).mean(-1))


class I3D(nn.Module):
    """Carreira and Zisserman, https://arxiv.org/abs/1705.07750, as piergiaj/pytorch-i3d: logits (B, K, T'), one every frame."""

    def __init__(self, classes=5):
        super().__init__()
        self.Conv3d_1a_7x7 = conv_bn(3, 8, 7, 2)
        self.MaxPool3d_2a_3x3 = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        self.Mixed_3b = nn.ModuleDict(
            {"b0": conv_bn(8, 4, 1), "b1": conv_bn(8, 8), "b2": nn.Sequential(nn.MaxPool3d(3, 1, 1), conv_bn(8, 4, 1))}
        )
        self.Mixed_5c = conv_bn(16, 24, 3, (1, 2, 2))
        self.avg_pool = nn.AvgPool3d((2, 7, 7), stride=(1, 1, 1))
        self.dropout = nn.Dropout(0.5)
        self.logits = nn.Conv3d(24, classes, 1)

    def forward(self, x):
        x = self.MaxPool3d_2a_3x3(self.Conv3d_1a_7x7(x))
        x = self.Mixed_5c(torch.cat([branch(x) for branch in self.Mixed_3b.values()], 1))
        return self.logits(self.dropout(self.avg_pool(x))).squeeze(3).squeeze(3)


class SlowFast(nn.Module):
    """Feichtenhofer et al., https://arxiv.org/abs/1812.03982: a list [slow, fast] in, the pools are joined."""

    def __init__(self, classes=5):
        super().__init__()
        self.s1 = nn.ModuleList([conv_bn(3, 8, (1, 7, 7), (1, 2, 2)), conv_bn(3, 2, (5, 7, 7), (1, 2, 2))])
        self.fuse = nn.Conv3d(2, 4, (5, 1, 1), (4, 1, 1), (2, 0, 0), bias=False)
        self.s5 = nn.ModuleList([conv_bn(12, 16, 3, (1, 2, 2)), conv_bn(2, 4, 3, (1, 2, 2))])
        self.projection = nn.Linear(20, classes)

    def forward(self, x):
        slow, fast = (stem(one) for stem, one in zip(self.s1, x, strict=True))
        slow = torch.cat([slow, self.fuse(fast)], 1)
        pooled = [F.adaptive_avg_pool3d(s(one), 1) for s, one in zip(self.s5, (slow, fast), strict=True)]
        x = torch.cat(pooled, 1).permute(0, 2, 3, 4, 1)
        x = self.projection(x)
        if not self.training:
            x = x.softmax(4).mean([1, 2, 3])
        return x.view(x.shape[0], -1)
