"""The rack as a browser sees it: made of the names in the IOC's list of PVs, and of what the configuration says."""
