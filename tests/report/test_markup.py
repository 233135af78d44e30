"""How tables of a page are set: numbers, names and words."""

import re

import pytest

from somaflow.report.markup import Page, render

TABLE = """
| donor | rho | trait | what it means |
|---|---|---|---|
| 90000024 | -0.12 | higher is worse | which of many words this is one too many for |
| 90000026 | 0.50 | - | the same in other words, and as long |
"""


@pytest.mark.parametrize(("column", "kind"), [(0, "short"), (1, "number"), (2, "short"), (3, None)])
def test_columns_are_set_by_what_they_hold(column: int, kind: str | None) -> None:
    """A donor's id stays a name, numbers go to the right, few words stay on one line."""
    html, _ = render(Page("e5-donors", TABLE, {}))
    row = re.findall(r"<(?:td|th)([^>]*)>", html.split("<tbody>")[1].split("</tr>")[0])
    found = re.search('class="([a-z]+)"', row[column])
    assert kind == (found[1] if found else None)
