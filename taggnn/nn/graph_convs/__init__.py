"""Convolutions that know the grid of their nodes: what lies before, after and in the same frame may have weights of its own.

Each is ``(x, edge_index) -> out`` as PyG's are, on the nodes of one clip or of several one after the other, time slowest. They
run on edge lists only; every faster implementation refuses them.
"""
