"""The way of updates to the database: which become rows, at what time, in which order, and what waits where."""
