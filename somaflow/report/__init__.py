"""The report of a study: one HTML file, with its figures and tables beside it."""

from somaflow.report.dictionary import describe_columns
from somaflow.report.writing import write_report

__all__ = ["describe_columns", "write_report"]
