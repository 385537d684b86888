"""The configuration file: read, checked, turned into what the IOC and the archiver need, or converted from others."""
