"""What changed, on its way to those who subscribed to it: the values of a block, the fields of a record."""
