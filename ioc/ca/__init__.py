"""The Channel Access server: names, conversations with clients, updates, and the beacons of caproto."""
