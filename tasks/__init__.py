"""Room 2: whether to run again, and what the dashboard shows. Thin wraps of somaflow functions."""

from tasks.logs import log_sentences_alone

# Here, since flows and the workers of their tasks all import this room.
log_sentences_alone()
