"""Code of the command line programs: options, configuration, processes, messages, runs."""
