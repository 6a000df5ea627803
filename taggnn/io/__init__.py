"""What is stored and opened again: checkpoints, exported programs, tokens, run folders."""
