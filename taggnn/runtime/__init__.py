"""The process and its environment: ranks, signals, seeds, devices, atomic files."""
