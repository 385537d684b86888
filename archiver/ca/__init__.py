"""Channel Access as an archiver needs it: libca, its structures, PVs that are followed or got."""
