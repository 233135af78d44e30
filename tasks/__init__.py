"""Room 2: whether to run again, and what the dashboard shows. Thin wraps of somaflow functions."""
