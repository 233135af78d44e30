"""What the columns of a trait table mean: kinds, directions, and codes that are no measurements.

Enters: a YAML file, or nothing for ROSMAP. Leaves: a `Codebook`. Refuses unknown fields and
settings that contradict each other, all in one message.
"""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from somaflow.errors import StudyError
from somaflow.traits.rosmap import ROSMAP

Kind = Literal["continuous", "ordinal", "binary", "category"]
Direction = Literal["higher_is_worse", "higher_is_better", "none"]
DIRECTION_WORDS: dict[str, str] = {
    "higher_is_worse": "higher is worse",
    "higher_is_better": "higher is better",
    "none": "neither end is worse",
}


class _Settings(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, coerce_numbers_to_str=True
    )


class Derived(_Settings):
    """A column of numbers made from another column by a list of its values."""

    values: dict[str, float] = Field(min_length=1)
    """Number for each value of the other column; a value that is not listed is missing."""
    kind: Literal["continuous", "ordinal", "binary"] = "ordinal"
    """As for a column of the table."""
    meaning: str = ""
    """What a high value means, for the report."""
    direction: Direction = "none"
    """Which end is worse."""


class TraitColumn(_Settings):
    """One column of the trait table."""

    kind: Kind
    """`continuous`, `ordinal` (grades) and `binary` columns are numbers, a `category` is text."""
    meaning: str = ""
    """What the values mean, for the report: `Braak stage of tangles, 0 to 6`."""
    direction: Direction = "none"
    """Which end is worse; values are never turned round."""
    missing_codes: list[str] = []
    """Values that are no measurement (6 of cogdx, -9): missing, and counted."""
    top_codes: dict[str, float] = {}
    """Texts for «this or more», as `90+: 90`: that number, counted as censored."""
    words: dict[str, float] = {}
    """Texts that stand for a number, as `male: 1`."""
    allowed: list[str] = []
    """The only values there are; any other is missing, and counted. Empty: no such list."""
    lowest: float | None = None
    """Values below are missing, and counted."""
    highest: float | None = None
    """Values above are missing, and counted."""
    derived: dict[str, Derived] = {}
    """Further columns made from this one, by name."""

    @model_validator(mode="after")
    def _check_category(self) -> "TraitColumn":
        numeric = [self.top_codes, self.words, self.lowest, self.highest]
        is_numeric = any(setting not in ({}, None) for setting in numeric)
        if self.kind == "category" and (is_numeric or self.direction != "none"):
            raise ValueError(
                "a category is text: it has no top_codes, words, lowest, highest or direction; "
                "make it ordinal, or leave these out"
            )
        return self


class Codebook(_Settings):
    """The columns of a trait table that are read, and which of them names the donor."""

    id_column: str = "projid"
    """Column with the donor's id, as folders or the donor table of the tiles spell it; leading
    zeros may be lost."""
    columns: dict[str, TraitColumn] = {}
    """What to read, by the name in the table's first line; its case does not matter."""
    ignored: list[str] = []
    """Columns that are known and not read, such as second ids."""
    based_on: Literal["rosmap"] | None = None
    """`rosmap`: columns that are not given here are as in the built-in codebook."""

    @model_validator(mode="after")
    def _check_names(self) -> "Codebook":
        derived = [name for column in self.columns.values() for name in column.derived]
        names = [name.casefold() for name in (*self.columns, *derived)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"columns and derived columns must differ, got {', '.join(twice)}")
        reserved = {"donor", self.id_column.casefold()} & set(names)
        if reserved:
            raise ValueError(f"{reserved.pop()} names the donor and cannot be a trait as well")
        return self

    @property
    def described(self) -> dict[str, TraitColumn | Derived]:
        """Every column that may be in the table read: those of the file and those derived."""
        found: dict[str, TraitColumn | Derived] = {}
        for name, column in self.columns.items():
            found |= {name: column, **column.derived}
        return found


def load_codebook(path: Path | str | None = None) -> Codebook:
    """The codebook of a YAML file; None gives the one of ROSMAP's clinical table.

    Raises:
        StudyError: one message with a line for every problem in the file.
    """
    if path is None:
        return Codebook.model_validate(ROSMAP)
    content = _read_yaml(Path(path))
    if content.get("based_on") == "rosmap":
        columns = content.get("columns") or {}
        content = ROSMAP | content | {"columns": _merge(ROSMAP["columns"], columns)}
    try:
        codebook = Codebook.model_validate(content)
    except ValidationError as error:
        problems = [
            f"  {'.'.join(str(part) for part in item['loc']) or 'codebook'}: {item['msg']}"
            for item in error.errors()
        ]
        raise StudyError(
            f"{path}: {len(problems)} value(s) must be changed:\n" + "\n".join(problems)
        ) from error
    if not codebook.columns:
        raise StudyError(
            f"a codebook must have columns, {path} has none; list them under `columns`, or say "
            "`based_on: rosmap`"
        )
    return codebook


def _merge(built_in: dict[str, Any], columns: Any) -> Any:
    """The built-in columns, with those of the file in place of the ones of the same name."""
    if not isinstance(columns, dict):
        return columns  # refused by the codebook, with its place
    given = {str(name).casefold() for name in columns}
    kept = {name: column for name, column in built_in.items() if name.casefold() not in given}
    return kept | columns


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyError(
            f"codebook must be a readable YAML file, {path} is not: {error.strerror}; correct the "
            "path, or leave it out for the columns of ROSMAP"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StudyError(f"codebook must be a YAML file, {path} is not: {error}") from error
    if not isinstance(content, dict):
        raise StudyError(f"codebook must be a YAML mapping of fields, {path} holds {content!r:.60}")
    return content
