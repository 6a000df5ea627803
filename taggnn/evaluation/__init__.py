"""From a model and clips to predictions, figures, intervals and comparisons."""
