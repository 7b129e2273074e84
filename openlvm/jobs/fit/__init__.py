"""Bring a folder: an LVM learns a task from pairs of pictures it has never seen, and says what it gained and lost."""
