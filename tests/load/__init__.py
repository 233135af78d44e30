"""How much a Prefect server and its database bear, and how soon the dashboard answers."""
