"""The IOC: records, scanning and the Channel Access server."""
