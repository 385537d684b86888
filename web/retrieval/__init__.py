"""The archive over HTTP as the Archiver Appliance speaks it (its documents and sources, 2026-08)."""
