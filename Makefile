# Every target sets up what it needs, in .venv, and may be run again.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

# A run starts dozens of processes that import the same packages: each would compile them anew.
unexport PYTHONDONTWRITEBYTECODE

# Two processes share the tests: flows wait on processes much of their time.
IN_TWO := --numprocesses 2

.PHONY: demo test test-fast check bench scale slurm-up slurm-down format constraints clean

demo: $(INSTALLED)
	$(BIN)/somaflow demo demo

test: $(INSTALLED)
	$(BIN)/python -m pytest $(IN_TWO)

# Without the tests that take more than half a minute.
test-fast: $(INSTALLED)
	$(BIN)/python -m pytest $(IN_TWO) -m "not slow"

# Read-only checks: style, types, which room may import which.
check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)
	$(BIN)/python -m tests.bench.run --out bench.json

# 150, 1,500 and 14,749 tiles of full size, whole, with a stand-in for the net; 4 GB, half an hour.
scale: $(INSTALLED)
	rm -rf scale
	$(BIN)/python -m tests.scale --folder scale --out scale/scale.json

# A real SLURM on this machine, its nodes and GPUs pretended; needs root.
slurm-up: $(INSTALLED)
	command -v slurmctld >/dev/null || { apt-get update && apt-get install -y --no-install-recommends slurm-wlm munge; }
	$(BIN)/python -m infra.sandbox up

slurm-down: $(INSTALLED)
	$(BIN)/python -m infra.sandbox down

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Resolves pyproject.toml anew; commit the result.
constraints: $(INSTALLED)
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	  --no-header --no-annotate --no-emit-index-url --upgrade --quiet --output-file constraints.txt

clean:
	rm -rf demo scale bench.json

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	touch $(INSTALLED)
