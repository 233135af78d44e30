"""What the dashboard's forms offer: a study may be given as a path or filled in."""

from typing import Annotated, Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema

from somaflow.study import Study

_LIMITS = {
    "exclusiveMinimum": "more than",
    "minimum": "at least",
    "exclusiveMaximum": "less than",
    "maximum": "at most",
}


class _OrPath:
    """Adds to a form, before it, a field for the path of a YAML file."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        path = {"type": "string", "format": "path", "title": "path"}
        whole = handler(schema)
        _say_limits(whole, handler, set())
        return {"anyOf": [path, whole]}


def _say_limits(part: Any, handler: GetJsonSchemaHandler, seen: set[str]) -> None:
    """Adds each field's limits to its help, which is all of them that the form shows."""
    if isinstance(part, list):
        for one in part:
            _say_limits(one, handler, seen)
    elif isinstance(part, dict):
        if (name := part.get("$ref")) is not None and name not in seen:
            seen.add(name)
            _say_limits(handler.resolve_ref_schema(part), handler, seen)
        if "description" in part and (words := _limits(part)):
            part["description"] += f" ({words})"
        for value in part.values():
            _say_limits(value, handler, seen)


def _limits(field: dict[str, Any]) -> str:
    """What a number must be, in words; empty if it may be any."""
    kinds: list[dict[str, Any]] = [field, *field.get("anyOf", [])]
    return ", ".join(
        f"{words} {kind[name]:,g}"
        for kind in kinds
        for name, words in _LIMITS.items()
        if name in kind
    )


StudyOrPath = Annotated[Study, _OrPath()]
"""The study; the dashboard's form and `prefect deployment run` also take the path of its file."""
