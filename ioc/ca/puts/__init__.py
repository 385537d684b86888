"""Puts of clients: those under way and what waits behind them, and the log of who put what."""
