"""Tables, queries and migrations: the only place that knows SQL, for SQLite and PostgreSQL."""
