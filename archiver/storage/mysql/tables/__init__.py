"""The tables on a MySQL or MariaDB server: how they are made, and which rights that takes."""
