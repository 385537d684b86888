"""rackioc beside EPICS base: the same libca calls to both, every difference shown (``python -m conformance``)."""
