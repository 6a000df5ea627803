"""Checks and measurements that need a GPU: the parts of ``benchmarks/gpu.sh``, each a program with its own JSON file."""
