"""What keeps an archive for years: backup, check, copy, salvage, renaming, and export for other programs."""
