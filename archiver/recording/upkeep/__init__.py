"""The upkeep of the archive: which rows are old, and the rounds in which they go."""
