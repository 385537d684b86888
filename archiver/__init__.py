"""The archiver: a Channel Access client that writes samples to a database."""
