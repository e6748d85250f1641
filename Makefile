# Every target sets up what it needs: a virtual environment in .venv with the pinned dependencies.
PYTHON ?= python3
VENV ?= .venv
PIP_FLAGS ?=
PYTEST_FLAGS ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-all lint format types bench bench-compare figures gallery clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("%s is Python %d.%d; 3.11 or newer is needed. Run: make PYTHON=/path/to/python3.11" % (sys.executable, *sys.version_info[:2]))'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP) ## reconstruct real measurements; print a table and save a picture
	$(BIN)/python -m recon.demo

test: $(STAMP) ## run the tests, except the slow ones
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_FLAGS)

test-all: $(STAMP) ## run all the tests
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

lint: $(STAMP) ## check the style with ruff
	$(BIN)/python -m ruff check .

format: $(STAMP) ## mend what ruff can mend by itself
	$(BIN)/python -m ruff check --fix .

types: $(STAMP) ## check the types with mypy
	$(BIN)/python -m mypy

bench: $(STAMP) ## time the library beside its peers; fails where a ratio is under its limit
	$(BIN)/python -m pytest benchmarks --benchmark-only $(PYTEST_FLAGS)
	$(BIN)/python -m benchmarks.peers

# The first run on a machine saves what later ones are held against; `rm -r .benchmarks` forgets it.
HOT := $(addprefix benchmarks/test_bench_,projector.py convolution.py tv.py problems.py)
bench-compare: $(STAMP) ## fail where a hot path is 30 % slower than what was saved on this machine
	@if ls .benchmarks/*/*_hot.json > /dev/null 2>&1; \
	then how="--benchmark-compare --benchmark-compare-fail=min:30%"; else how="--benchmark-save=hot"; fi; \
	$(BIN)/python -m pytest $(HOT) --benchmark-only -k "not scipy and not scikit" $$how $(PYTEST_FLAGS)

figures: $(STAMP) ## print the figures of accuracy and speed that must hold
	$(BIN)/python -m benchmarks.figures

gallery: $(STAMP) ## make docs/gallery.md and its pictures again; a few minutes
	PYTHONPATH=. $(BIN)/python docs/gallery/make.py

clean: ## remove what the targets made, the virtual environment included
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
