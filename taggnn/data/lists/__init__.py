"""From lists and folders to clips."""
