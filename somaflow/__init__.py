"""somaflow: from a folder of two-channel brain tiles to cells, scores and donors.

The science lives here and knows neither Prefect nor Dask: arrays, tables, models, metrics, files.
The data path is one chain of nouns: tiles -> splits -> training -> evaluation -> gating ->
inference -> cells -> donors.
"""

__version__ = "0.2.0"
