"""What a process runs in: its rank, its signals, its seed, and files that are whole or not there."""
