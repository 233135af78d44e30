"""What the document promises is found where it is, and missed where it is not."""

import pytest

from tests.session.document import find_absent, read_blocks
from tests.session.test_session import DOCUMENT

PRINTED = "one  1 of 3\n\n| two |   x |\nthree\n"


@pytest.mark.parametrize(
    ("wanted", "absent"),
    [
        (["one 1 of 3", "three"], None),
        (["one ... of 3", "...", "| two | ... |"], None),
        (["three", "one 1 of 3"], "one 1 of 3"),
        (["one 1 of 3", "two"], "two"),
        (["one ... of 4"], "one ... of 4"),
    ],
)
def test_lines_are_found_whole_and_in_order(wanted: list[str], absent: str | None) -> None:
    """A line matches a whole line, further down than the one before; `...` stands for anything."""
    assert absent == find_absent(wanted, PRINTED)


def test_document_has_blocks_to_type_and_what_they_show() -> None:
    """Nothing of a bare machine is typed; most blocks promise something, some on the dashboard."""
    blocks = read_blocks(DOCUMENT)
    assert not any("apt-get" in block.typed for block in blocks)
    assert len(blocks) > 2 * len([block for block in blocks if not block.printed])
    assert 3 == len([block for block in blocks if block.shown])
