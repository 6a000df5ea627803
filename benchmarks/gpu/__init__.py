"""What only a GPU can tell: the parts of ``benchmarks/gpu.sh``, each a program of its own with a JSON file of its own."""
