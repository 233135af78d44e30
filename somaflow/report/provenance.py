"""What was run: study, data, recipes and their weights, versions, keys, commands.

Enters: the evidence. Leaves: the page that says how to get the same results again.
"""

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

import somaflow
from somaflow.experiments.results import SUMMARY, Results
from somaflow.keys import library_versions
from somaflow.report.evidence import Evidence, short
from somaflow.report.markup import show
from somaflow.schema import FIRST_RELEASE
from somaflow.study import dump_study

_LIBRARIES = (
    "cellpose", "torch", "numpy", "scipy", "statsmodels", "pandas", "zarr", "matplotlib",
    "prefect", "dask",
)  # fmt: skip
_SET = ("flow_threshold", "cellprob_threshold", "min_size_px")


def describe_provenance(
    evidence: Evidence, study_file: Path | None, flows: Sequence[str]
) -> Results:
    """The page of what was run.

    Args:
        evidence: of the study.
        study_file: named in the commands; `STUDY` unless given.
        flows: names of the flows whose results are shown, in order.
    """
    study = evidence.study
    page = Results("What was run")
    devices = {record.device for item in evidence.inferences for record in item.records}
    devices |= {name for run in evidence.trainings.values() for name in run.get("devices", [])}
    facts = {
        "Study": study.name,
        "Study file": study_file or "not given",
        "Outputs": study.output,
        "Tiles": study.tiles.root,
        "Labelled tiles": study.labelled_source.root,
        "Traits": study.traits or "none",
        "Devices": ", ".join(sorted(devices)) or "none yet",
        "Seed, resamples": f"{study.seed}, {study.n_resamples}",
        "IoU of a found cell": f"{study.iou_threshold:g}",
    }
    page.add_words("\n".join(f"- {name}: `{_code(value)}`" for name, value in facts.items()))
    _add_recipes(page, evidence)
    _add_keys(page, evidence)
    _add_versions(page, evidence)
    page.add_words("### Commands\n\nThese make it again; what is there already is not redone.")
    name = shlex.quote(str(study_file)) if study_file else "STUDY"
    commands = [f"somaflow check {name}", *(f"somaflow run {flow} {name}" for flow in flows)]
    page.add_words(_fence("\n".join([*commands, f"somaflow report {name}"]), "Commands"))
    page.add_words("### Study file, defaults filled in")
    page.add_words(_fence(_read_study(evidence), "Study file"))
    return page


def _code(value: object) -> str:
    """Any words inside backticks."""
    return " ".join(str(value).split()).replace("`", "'")


def _fence(content: str, label: str) -> str:
    return f"~~~~~~ {label}\n{content.replace('~~~~~~', '')}\n~~~~~~"


def _read_study(evidence: Evidence) -> str:
    path = evidence.study.paths.study
    return path.read_text(encoding="utf-8") if path.exists() else dump_study(evidence.study)


def _add_recipes(page: Results, evidence: Evidence) -> None:
    known = {
        str(run.get("base_model")): str(run.get("base_sha256", ""))
        for run in evidence.trainings.values()
    }
    rows = []
    for recipe in evidence.study.recipes:
        rows += _recipe_rows(recipe.name, recipe.model_dump(mode="json"), "study file", known)
    made = sorted(evidence.recipes.items(), key=lambda item: str(item[1].get("made_by")))
    for name, content in made:
        rows += _recipe_rows(name, content.get("recipe", {}), str(content.get("made_by")), known)
    table = pd.DataFrame(rows)
    page.add_words("### Recipes\n\nWeights are known by the first digits of their sha256.")
    page.add_table("recipes", table, show(table))


def _recipe_rows(
    name: str, recipe: Mapping[str, Any], made_by: str, known: Mapping[str, str]
) -> list[dict[str, str]]:
    """One row, or one a marker where a recipe has a set a marker."""
    sets = recipe.get("per_marker") or {"all": recipe}
    rows = []
    for marker, part in sets.items():
        model = str(part.get("model", ""))
        sha256 = part.get("model_sha256") or known.get(model)
        gate = {key: value for key, value in (part.get("gate") or {}).items() if value is not None}
        rows.append(
            {
                "recipe": name,
                "marker": marker,
                "made_by": made_by,
                "weights_sha256": short(sha256),
                **{key: str(part.get(key, "")) for key in _SET},
                "gate": ", ".join(f"{key} {value}" for key, value in gate.items()) or "-",
                "model": model,
            }
        )
    return rows


def _add_keys(page: Results, evidence: Evidence) -> None:
    """What lies under which key, and when it was finished."""
    paths = evidence.study.paths
    rows = []
    if evidence.prepared_key:
        where = paths.prepared(evidence.prepared_key) / "prepared.parquet"
        rows.append(("prepared tiles", evidence.prepared_key, where))
    for name, folder in evidence.folders.items():
        rows.append((name, folder.name, folder / SUMMARY))
    for key in evidence.trainings:
        rows.append(("training", key, paths.checkpoint(key) / "training.json"))
    for item in evidence.inferences:
        rows.append(("inference", item.key, paths.run_record(item.key)))
    if not rows:
        return
    table = pd.DataFrame(
        [
            {
                "what": what,
                "key": key,
                "when_utc": _when(path),
                "place": str(path.parent.relative_to(paths.output)),
            }
            for what, key, path in rows
        ]
    )
    page.add_words(
        "### Keys\n\nA key is the hash of all that shapes a result: equal keys, equal results."
    )
    page.add_table("keys", table, show(table))


def _when(path: Path) -> str:
    return f"{datetime.fromtimestamp(path.stat().st_mtime, UTC):%Y-%m-%d %H:%M}"


def _add_versions(page: Results, evidence: Evidence) -> None:
    """Versions now, and those that inferences and trainings were made with."""
    versions = {"somaflow": somaflow.__version__, **library_versions(*_LIBRARIES)}
    made: dict[str, set[str]] = {}
    runs = [item.run for item in evidence.inferences] + list(evidence.trainings.values())
    for run in runs:
        own = {"somaflow": run.get("somaflow", FIRST_RELEASE), **run.get("versions", {})}
        for name, number in own.items():
            made.setdefault(name, set()).add(str(number))
    table = pd.DataFrame(
        [
            {
                "package": name,
                "version_of_report": number,
                "version_of_runs": ", ".join(sorted(made.get(name, {"-"}))),
            }
            for name, number in versions.items()
        ]
    )
    page.add_words("### Versions\n\nOf this report, and of the trainings and inferences it shows.")
    page.add_table("versions", table, show(table))
