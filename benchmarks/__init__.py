"""Measurements of time, memory and growth; see README.md in this folder. Run as a file or with ``python -m``."""
