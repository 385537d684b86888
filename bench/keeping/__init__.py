"""What an archive of years takes: its summaries, and its memory while the database takes nothing."""
