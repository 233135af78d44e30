"""A Prefect server, its database and a worker that are kept alive: `python -m infra.service up`.

Enters: a folder (home) with settings. Leaves: a dashboard, deployments, automations, and processes
that a supervisor starts again when they die. Everything that the service knows lies in home.
"""
