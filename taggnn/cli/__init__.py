"""What the programs share: options, configuration, start of processes, messages."""
