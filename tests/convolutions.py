"""The convolutions that are PyG's own: every implementation knows them, and they take no grid."""

from taggnn.nn import convs

OF_PYG = [name for name, row in convs.CONVS.items() if str(row.builder).startswith("torch_geometric.")]
