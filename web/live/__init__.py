"""Live values: one Channel Access monitor a PV, shown to any number of browsers."""
