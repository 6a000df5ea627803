"""Backbones of skeletons: (B, C, T, V, M) -> tokens (B, T', V, C'), one file each; ``taggnn.backbones.table`` lists them."""
