"""Channel Access for an archiver: libca, its structures, PVs that are subscribed to or read."""
