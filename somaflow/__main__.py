"""`python -m somaflow`, the same as the command `somaflow`."""

from somaflow.cli import app

app(prog_name="somaflow")
