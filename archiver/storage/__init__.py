"""The databases of an archive: one contract, an implementation for each dialect, and the code that they share."""
