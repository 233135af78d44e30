"""Where the outputs of a run lie, for its page on the dashboard."""

import socket

from somaflow.study import Study
from tasks.reporting import show_places


def announce_outputs(study: Study) -> None:
    """Leaves it as an artifact of the run: a browser opens no file for a page that a server sent.

    It is done first, so that a run that fails or is cancelled has it too.
    """
    show_places(
        "outputs",
        f"Outputs of {study.name}",
        f"On {socket.gethostname()}, in `{study.output}`:",
        study.paths.places(),
    )
