"""Instrument drivers: one file an instrument, written against the contract in ``drivers.base``."""
