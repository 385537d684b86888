"""SQL of the archive's database: schema and migrations, one folder a dialect."""
