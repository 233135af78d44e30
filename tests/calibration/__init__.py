"""Donor statistics on simulated donors whose truth is known; writes docs/calibration.md."""
