"""What a user would write or pick instead of taggnn: whole training programs, each started as a process of its own."""
