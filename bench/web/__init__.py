"""Benches of the web server."""
