"""Files for other programs, made from the list of a configuration's PVs: alarm tree, PV reference, archives, screens.

Each function takes a ``Rack`` and returns text; the same rack gives the same bytes.
"""
