"""What a log says of an error that explains itself: its sentence, not the way it came.

Enters: records of Prefect's loggers of runs. Leaves: the same, without the traceback of somaflow's
own errors, unless another error caused them.
"""

import logging

from somaflow.errors import SomaflowError

_LOGGERS = "prefect.flow_runs", "prefect.task_runs"


class _SentencesAlone(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, SomaflowError) and error.__cause__ is None:
            record.exc_info = record.exc_text = None
        return True


_SENTENCES_ALONE = _SentencesAlone()


def log_sentences_alone() -> None:
    """From now on in this process; again it changes nothing."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_SENTENCES_ALONE)
