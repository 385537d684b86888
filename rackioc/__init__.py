"""rackioc: a rack of slow-control instruments as EPICS process variables, and their history.

``rackioc.history(...)`` reads an archive in a notebook; ``python -m rackioc`` is the command ``rackioc``.
"""

from __future__ import annotations

from importlib.metadata import version

from archiver import history

__version__ = version("rackioc")

__all__ = ["__version__", "history"]
