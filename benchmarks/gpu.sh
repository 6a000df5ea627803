#!/bin/sh
# Checks and measurements that need a GPU, in one run of less than ten minutes: one JSON file for each part.
#   benchmarks/gpu.sh                          # on the GPU; writes runs/gpu/PART.json
#   benchmarks/gpu.sh --quick --device cpu     # a try without one: small sizes, stand-ins, Triton's interpreter
cd "$(dirname "$0")/.." && exec "${PYTHON:-python}" -m benchmarks.gpu "$@"
