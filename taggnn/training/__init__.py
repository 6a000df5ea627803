"""Training: the loop, what it optimises, how several processes share it, and what is logged."""
