"""Comparisons with what people use today: `python -m tests.bench.run`."""
