"""The cases, an area a file: each states the records that it uses and runs its calls."""
