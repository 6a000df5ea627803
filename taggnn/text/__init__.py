"""Class names as vectors: the text bank, and the encoders that fill it."""
