"""The whole study, run as a user would, with a segmenter that needs no GPU."""
