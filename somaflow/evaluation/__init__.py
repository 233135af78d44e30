"""Scores of predicted labels: matches in one image, and their summary over images and donors."""

from somaflow.evaluation.counting import MatchCounts, count_matches, pair_table
from somaflow.evaluation.summary import compare, summarise

__all__ = ["MatchCounts", "compare", "count_matches", "pair_table", "summarise"]
