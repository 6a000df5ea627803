"""Layers, convolutions and criteria of heads."""
