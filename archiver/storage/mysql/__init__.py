"""An archive on a MySQL or MariaDB server, or on a cluster of them."""
