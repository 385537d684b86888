"""``python -m ioc``: the same as the command ``rackioc``."""

from ioc.cli import main

main()
