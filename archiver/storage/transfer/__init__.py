"""What carries an archive from one database to another: the tables, and the contract of both ends."""
