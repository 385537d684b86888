"""Runs the command ``rackioc``, as ``python -m rackioc``."""

from rackioc.cli import main

main()
