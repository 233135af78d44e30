"""What of a study is begun and not finished, told from its files alone."""

from somaflow.unfinished.finding import Unfinished
from somaflow.unfinished.search import find_unfinished, was_run_whole
from somaflow.unfinished.studies import find_studies, inputs_changed

__all__ = ["Unfinished", "find_studies", "find_unfinished", "inputs_changed", "was_run_whole"]
