"""What the dashboard's forms offer: a study may be given as a path or filled in."""

from typing import Annotated, Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema

from somaflow.study import Study


class _OrPath:
    """Adds to a form, before it, a field for the path of a YAML file."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        path = {"type": "string", "format": "path", "title": "path"}
        return {"anyOf": [path, handler(schema)]}


StudyOrPath = Annotated[Study, _OrPath()]
"""The study; the dashboard's form and `prefect deployment run` also take the path of its file."""
