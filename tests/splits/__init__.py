"""Tests of the splits: assignment, the file, resemblance and the audit."""
