"""Networks of images as backbones of video: every frame by itself, with an optional exchange between neighbouring frames."""
