"""Video backbones, one file a family."""
