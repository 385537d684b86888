"""What the upkeep of an archive has in common on all databases: what thinning keeps, and how much one step takes."""
