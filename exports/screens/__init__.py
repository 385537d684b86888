"""Screens for Phoebus (.bob) with their plots (.plt): one look, one grid, 1920 x 1080 points."""
