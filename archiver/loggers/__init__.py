"""The tables of the two loggers that rackioc takes over from, and what fills them."""
