"""`python -m somaflow.training`: trains the embedded model anew, or says how good a model is."""

from somaflow.training.tiny import main

main()
