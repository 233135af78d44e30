"""Donors under codes: what leaves a study's folder names nobody and quotes no trait."""

from somaflow.privacy.codes import DonorCodes, donor_codes

__all__ = ["DonorCodes", "donor_codes"]
