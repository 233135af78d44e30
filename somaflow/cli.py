"""The command line: few verbs, each a call into the library or the start of a flow."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

import somaflow
from somaflow.claims import IfBusy
from somaflow.errors import SomaflowError
from somaflow.files import take_umask
from somaflow.processes import run_child

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="From a folder of two-channel brain tiles to cells, scores and donors.",
)
# Enough donors to find what there is, and tiles so small that it takes minutes.
_DEMO = {"n_donors": 40, "n_tiles": 480, "height_px": 400, "width_px": 520, "labelled_tiles": 48}
StudyPath = Annotated[Path, typer.Argument(metavar="STUDY", help="The study's YAML file.")]


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"somaflow {somaflow.__version__}")
        raise typer.Exit
    with _one_line_errors():
        take_umask()


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made if absent.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Seed of the synthetic study.")] = 1,
) -> None:
    """Makes a synthetic study in DIR and runs the main job on it."""
    with _one_line_errors():
        study = _write_synthetic(folder, seed=seed, **_DEMO)
        _run_flow("study", study, "laptop", retry_quarantined=False)
        _show_results(study)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made if absent.")],
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Also write tiles, labels, donors and traits.")
    ] = False,
    donors: Annotated[int, typer.Option(help="Synthetic donors.")] = 12,
    tiles: Annotated[int, typer.Option(help="Synthetic tiles in all.")] = 96,
    seed: Annotated[int, typer.Option(help="Seed of the synthetic study.")] = 0,
) -> None:
    """Writes DIR/study.yaml to fill in, or a whole synthetic study."""
    with _one_line_errors():
        if synthetic:
            study = _write_synthetic(folder, n_donors=donors, n_tiles=tiles, seed=seed)
        else:
            from somaflow.template import write_template

            study = write_template(folder)
        typer.echo(f"Wrote {study}; next: somaflow check {study}")


@app.command()
def check(
    study: StudyPath,
    site: Annotated[
        str | None, typer.Option(help="Also try this site: on SLURM one small job looks around.")
    ] = None,
) -> None:
    """Lists every problem of a study at once; exit code 1 if there is any."""
    from somaflow.checks import find_notes, find_problems
    from somaflow.study import load_study

    with _one_line_errors():
        loaded = load_study(study)
        notes, problems = find_notes(loaded), find_problems(loaded)
        if site is not None:
            problems += _find_site_problems(study, site)
    for line in [*notes, *problems]:
        typer.echo(line)
    typer.echo(f"{len(problems)} problem(s)" if problems else "Ready to run.")
    raise typer.Exit(1 if problems else 0)


@app.command()
def run(
    flow: Annotated[str, typer.Argument(metavar="FLOW", help="e0-prepare, e1-recipes, ...")],
    study: StudyPath,
    site: Annotated[str, typer.Option(help="Where tasks run: a name in infra/.")] = "laptop",
    retry_quarantined: Annotated[
        bool, typer.Option("--retry-quarantined", help="Try tiles again that were set aside.")
    ] = False,
    if_busy: Annotated[
        IfBusy | None, typer.Option(help="If another run segments this study now.")
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Print where the time of e5-inference went.")
    ] = False,
) -> None:
    """Runs a flow here, as its deployment would."""
    with _one_line_errors():
        _run_flow(flow, study, site, retry_quarantined, if_busy, profile)
        _show_results(study)


@app.command()
def status(study: StudyPath) -> None:
    """Says from the files alone how far a study is."""
    from somaflow.status import describe_status
    from somaflow.study import load_study

    with _one_line_errors():
        typer.echo(describe_status(load_study(study)))


@app.command()
def report(study: StudyPath) -> None:
    """Writes a report of all that a study has so far: one HTML file, with figures and tables."""
    from somaflow.report import write_report
    from somaflow.study import load_study

    with _one_line_errors():
        typer.echo(write_report(load_study(study), study))


@app.command()
def clean(
    study: StudyPath,
    older_than: Annotated[
        float, typer.Option(min=0, metavar="DAYS", help="Since when nothing was written to it.")
    ] = 90,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without, it is listed.")] = False,
) -> None:
    """Lists, or removes, old logs, cached results, reports and superseded inferences."""
    from somaflow.cleaning import find_old, remove
    from somaflow.study import load_study

    with _one_line_errors():
        loaded = load_study(study)
        old, note = find_old(loaded, older_than)
        if yes:
            remove(loaded, old)
    for line in [
        *(f"{one.n_bytes / 1e6:10.1f} MB  {one.what}" for one in old),
        *filter(None, [note]),
    ]:
        typer.echo(line)
    total_mb = sum(one.n_bytes for one in old) / 1e6
    typer.echo(f"{total_mb:10.1f} MB  {'removed' if yes else 'may go: run again with --yes'}")


@app.command()
def export(
    study: StudyPath,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Made if absent.")],
    donor: Annotated[
        list[str] | None, typer.Option(help="All tiles of this donor; may be repeated.")
    ] = None,
    tile: Annotated[
        list[str] | None, typer.Option(help="This tile, by its id; may be repeated.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All tiles of the inference.")] = False,
    key: Annotated[str | None, typer.Option(help="Which inference, if there are several.")] = None,
    pixel_size_um: Annotated[float | None, typer.Option(help="Side of a pixel.")] = None,
    skip_unsegmented: Annotated[
        bool, typer.Option("--skip-unsegmented", help="Leave out tiles that have no labels.")
    ] = False,
) -> None:
    """Writes tiles with their labels as OME-Zarr images, which napari opens."""
    from rich.console import Console
    from rich.progress import Progress

    from somaflow.export import Selection, export_tiles
    from somaflow.study import load_study

    selection = Selection(tuple(donor or ()), tuple(tile or ()), every, key, skip_unsegmented)
    with _one_line_errors():
        paths = load_study(study).paths
        console = Console(stderr=True)  # standard output is for the paths alone
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("Tiles", total=None)
            done = export_tiles(
                paths,
                folder,
                selection,
                pixel_size_um,
                lambda steps, total: bar.update(task, completed=steps, total=total),
            )
    for line in [*done.left_out.values(), *(f"{item.path}" for item in done.tiles)]:
        typer.echo(line)
    n_written = sum(item.written for item in done.tiles)
    typer.echo(
        f"Inference {done.key}: {n_written} tile(s) written to {folder}, "
        f"{len(done.tiles) - n_written} there already, {len(done.left_out)} left out"
    )


def _write_synthetic(folder: Path, n_tiles: int, **numbers: int) -> Path:
    from rich.progress import Progress

    from somaflow.synthetic import write_study

    with Progress() as bar:
        task = bar.add_task("Synthetic tiles", total=n_tiles)
        return write_study(
            folder,
            n_tiles=n_tiles,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            **numbers,
        )


def _find_site_problems(study: Path, site: str) -> list[str]:
    """Hands over to `python -m infra.check`: this room knows no cluster."""
    command = [sys.executable, "-m", "infra.check", str(study), site]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    problems = done.stdout.splitlines()
    if done.returncode and not problems:
        raise typer.Exit(done.returncode)  # it has said why on standard error
    return problems


def _run_flow(
    flow: str,
    study: Path,
    site: str,
    retry_quarantined: bool,
    if_busy: IfBusy | None = None,
    profile: bool = False,
) -> None:
    """Hands over to `python -m flows`: this room knows no orchestrator."""
    command = [sys.executable, "-m", "flows", flow, str(study), "--site", site]
    if retry_quarantined:
        command.append("--retry-quarantined")
    if profile:
        command.append("--profile")
    if if_busy is not None:
        command += ["--if-busy", if_busy]
    code = run_child(command, meanwhile=_import_results)
    if code:
        raise typer.Exit(code if code > 0 else 128 - code)  # as a shell says it for a signal


def _import_results() -> None:
    """Imports, while the flow starts, what `_show_results` needs at its end."""
    import rich.console  # noqa: F401

    import somaflow.experiments.overview
    import somaflow.status  # noqa: F401


def _show_results(study_path: Path) -> None:
    from rich.console import Console

    from somaflow.experiments.overview import list_tables
    from somaflow.status import current_experiments, describe_status
    from somaflow.study import load_study
    from somaflow.tables import as_text

    study = load_study(study_path)
    console = Console(width=None if sys.stdout.isatty() else 140)
    for title, rows in list_tables(current_experiments(study.paths)):
        console.print(as_text(rows, title))
    typer.echo(describe_status(study))


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except SomaflowError as error:
        typer.echo(f"somaflow: {error}", err=True)
        raise typer.Exit(1) from error
