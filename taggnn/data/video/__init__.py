"""From a video file to a tensor."""
