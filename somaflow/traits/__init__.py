"""Donor-level variables: read as they are written, described by a codebook, matched to tiles."""

from somaflow.traits.codebook import Codebook, TraitColumn, load_codebook
from somaflow.traits.matching import Match, match_donors
from somaflow.traits.reading import Traits, read_traits
from somaflow.traits.wording import describe_direction, describe_traits

__all__ = [
    "Codebook",
    "Match",
    "TraitColumn",
    "Traits",
    "describe_direction",
    "describe_traits",
    "load_codebook",
    "match_donors",
    "read_traits",
]
