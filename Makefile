# Every target sets up what it needs, in .venv, and may be run again.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

# A run starts dozens of processes that import the same packages: each would compile them anew.
unexport PYTHONDONTWRITEBYTECODE

# Two processes share the tests: flows wait on processes much of their time.
IN_TWO := --numprocesses 2

SEED := 1
ROUNDS := 12

# Of `make serve`, for example SERVE="--port 4300 --password".
SERVE :=

.PHONY: demo serve serve-stop test test-long test-fast check bench bench-check bench-gpu scale calibration chaos slurm-up slurm-down format constraints clean

demo: $(INSTALLED)
	$(BIN)/somaflow demo demo

# Server, dashboard, deployments, automations and a worker, kept alive beside this terminal.
serve: $(INSTALLED)
	$(BIN)/python -m infra.service up $(SERVE)

serve-stop: $(INSTALLED)
	$(BIN)/python -m infra.service down

test: $(INSTALLED)
	$(BIN)/python -m pytest $(IN_TWO) -m "not long"

# Workers, flows and servers that die, on a real SLURM too, the dashboard in Chromium, a whole session: an hour on a busy machine.
test-long: $(INSTALLED)
	$(BIN)/python -m pytest $(IN_TWO) -m long

# Without the tests that take more than half a minute.
test-fast: $(INSTALLED)
	$(BIN)/python -m pytest $(IN_TWO) -m "not slow and not long"

# Read-only checks: style, types, which room may import which.
check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)
	$(BIN)/python -m tests.bench.run --out bench.json

# Five of them, in two minutes: fails if somaflow has become slow beside what people use. Ratios alone, with wide margins.
bench-check: $(INSTALLED)
	$(BIN)/python -m tests.bench.run --check --out bench.json

# The inference engine on a GPU against Cellpose's eval; checks that the cells are the same. Three minutes.
bench-gpu: $(INSTALLED)
	$(BIN)/python -m tests.bench.gpu --out bench-gpu.json

# 150, 1,500 and 14,749 tiles of full size, whole, with a stand-in for the net; 4 GB, half an hour.
scale: $(INSTALLED)
	rm -rf scale
	$(BIN)/python -m tests.scale --folder scale --out scale/scale.json

# Simulated donors of known rho and reliability: do intervals cover, does the false discovery rate hold? Minutes.
calibration: $(INSTALLED)
	$(BIN)/python -m tests.calibration --out docs/calibration.md

# A real SLURM on this machine, its nodes and GPUs pretended; needs root.
slurm-up: $(INSTALLED)
	command -v slurmctld >/dev/null || { apt-get update && apt-get install -y --no-install-recommends slurm-wlm munge; }
	$(BIN)/python -m infra.sandbox up

slurm-down: $(INSTALLED)
	$(BIN)/python -m infra.sandbox down

# Runs of E5 on a SLURM of their own, disturbed at random; needs root. Fails if a tile is lost, twice or torn.
chaos: $(INSTALLED)
	command -v slurmctld >/dev/null || { apt-get update && apt-get install -y --no-install-recommends slurm-wlm munge; }
	$(BIN)/python -m tests.chaos --seed $(SEED) --rounds $(ROUNDS) --report chaos.json

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Resolves pyproject.toml anew; commit the result.
constraints: $(INSTALLED)
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	  --no-header --no-annotate --no-emit-index-url --upgrade --quiet --output-file constraints.txt

clean:
	rm -rf demo scale bench.json chaos.json

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	touch $(INSTALLED)
