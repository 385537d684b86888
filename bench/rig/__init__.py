"""What the benches share: loads, the servers and databases they are put on, clients by hand, and tables."""
