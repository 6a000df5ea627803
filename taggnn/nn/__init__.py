"""Layers, convolutions and criteria that heads are made of."""
