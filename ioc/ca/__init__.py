"""The Channel Access server: names, conversations with clients, updates, and beacons."""
