"""Names on the network: answers to searches, other servers with the same names, the environment variables."""
