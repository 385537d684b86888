"""An archive in one SQLite file."""
