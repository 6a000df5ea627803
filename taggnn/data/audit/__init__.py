"""What is wrong with the files and lists of a data set."""
