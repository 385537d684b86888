"""The tables of the two former loggers, and the loggers that fill them in their place."""
