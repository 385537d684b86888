"""The servers that are compared, each a process of its own: ``python -m bench.peers.NAME KIND COUNT RATE``."""
