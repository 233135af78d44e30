"""Runs one flow in this process: `python -m flows FLOW STUDY [--site NAME]`.

It is the same flow as the deployment's, without a worker. Where no Prefect API is configured, a
server is started for the time of the run, and the flow runs in a child process, so that its last
logs and events reach the server before that is stopped.
"""

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

from flows.server import (
    START_LIMIT_S,
    ServerGoneError,
    await_server,
    is_configured,
    password_file,
    server_errors,
    starting_server,
)
from infra.specs import LOOPBACK, LocalSite, SlurmSite, load_site
from somaflow.claims import IfBusy, refuse_if_busy
from somaflow.errors import SomaflowError
from somaflow.files import take_umask
from somaflow.ledger import is_complete
from somaflow.pending import find_pending
from somaflow.processes import run_child
from somaflow.study import Study, load_study

FLOWS = {
    "e0-prepare": "flows.e0_prepare:e0_prepare",
    "e1-recipes": "flows.e1_recipes:e1_recipes",
    "e2-label-budget": "flows.e2_label_budget:e2_label_budget",
    "e3-gating": "flows.e3_gating:e3_gating",
    "e4-thresholds": "flows.e4_thresholds:e4_thresholds",
    "e5-inference": "flows.e5_inference:e5_inference",
    "e5-donors": "flows.e5_donors:e5_donors",
    "study": "flows.study:study",
}
# Of a study, one run of these at a time.
_SEGMENTING = ("e5-inference", "study")


def main(arguments: list[str]) -> int:
    """Runs the flow; returns 0, or 1 after one clear line on standard error."""
    parser = argparse.ArgumentParser(prog="python -m flows", description=__doc__)
    parser.add_argument("flow", choices=FLOWS)
    parser.add_argument("study", type=Path)
    parser.add_argument("--site", default="laptop")
    parser.add_argument("--retry-quarantined", action="store_true")
    parser.add_argument("--if-busy", choices=get_args(IfBusy), help="only e5-inference and study")
    parser.add_argument("--profile", action="store_true", help="only e5-inference")
    parser.add_argument("--await-server", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.if_busy is not None and options.flow not in _SEGMENTING:
        parser.error(f"--if-busy is for {' and '.join(_SEGMENTING)}, not for {options.flow}")
    if options.profile and options.flow != "e5-inference":
        parser.error(f"--profile is for e5-inference, not for {options.flow}")
    try:
        take_umask()  # the server that is started here keeps its database in the study's outputs
        return _run(options, arguments)
    except ServerGoneError as error:
        print(f"somaflow: {error}", file=sys.stderr, flush=True)
        os._exit(1)  # at a normal exit Prefect waits for minutes to tell its last events to nobody
    except SomaflowError as error:
        print(f"somaflow: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace, arguments: list[str]) -> int:
    study = load_study(options.study)
    if options.if_busy == "refuse":
        refuse_if_busy(study.paths)  # before a server is started for nothing
    if is_configured():
        parameters: dict[str, Any] = {"study": study, "site": options.site}
        if options.retry_quarantined:
            parameters["retry_quarantined"] = True
        if options.profile:
            parameters["profile"] = True
        if options.if_busy is not None:
            parameters["if_busy"] = options.if_busy
        module, name = FLOWS[options.flow].split(":")
        flow = getattr(import_module(module), name)
        if options.await_server:
            await_server(START_LIMIT_S)
        with server_errors():
            flow(**parameters)
        return 0
    site = load_site(options.site)
    if options.flow == "e5-inference" and _has_nothing_to_do(study, options.retry_quarantined):
        return 0
    host, home = _server_host(site), study.output / "prefect"
    with starting_server(home, host) as (settings, await_start):

        def show_dashboard() -> None:
            await_start()
            dashboard = settings["PREFECT_API_URL"].removesuffix("/api")
            print(f"Dashboard while this runs: {dashboard}", flush=True)
            if "PREFECT_API_AUTH_STRING" in settings:
                print(f"It asks for what stands in {password_file(home)}", flush=True)

        # The flow's imports take as long as the server's: both at once.
        command = [sys.executable, "-m", "flows", *arguments, "--await-server"]
        return run_child(command, {**os.environ, **settings}, meanwhile=show_dashboard)


def _has_nothing_to_do(study: Study, retry_quarantined: bool) -> bool:
    """Whether every shard is committed: then a server, for this command alone, has no use."""
    if not any(is_complete(study.paths, key) for key in study.paths.inference_keys()):
        return False
    pending = [find_pending(study, name, retry_quarantined) for name in study.inference_recipes]
    if any(one.todo for one in pending):
        return False
    for one in pending:
        n_shards = one.inference.n_shards
        print(f"Inference {one.inference.key}: {n_shards} of {n_shards} shards done, 0 to do")
    return True


def _server_host(site: LocalSite | SlurmSite) -> str:
    if isinstance(site, LocalSite):
        return LOOPBACK
    from infra.clusters import scheduler_host  # imports all of Dask before the server can start

    return scheduler_host(site)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
