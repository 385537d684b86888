"""Fake instruments at the far end of the real wire, written from the manuals, with faults on request."""
