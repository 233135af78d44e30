"""Where tasks run: a YAML file a site, and the Dask cluster it describes."""
