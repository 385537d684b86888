"""The databases of an archive: one contract, an implementation a dialect, and what they share."""
