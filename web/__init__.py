"""The web server: a client of Channel Access and a reader of the archive, in a process of its own."""
