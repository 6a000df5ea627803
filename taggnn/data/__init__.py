"""Videos: lists and folders to clips, clips to frames, frames to batches."""
