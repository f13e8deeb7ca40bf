# make help lists the targets.
SHELL := /bin/sh
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
# torch is installed first and pinned: a range would draw the newest build, with several GB of
# CUDA packages, where a smaller one will do. Where the pin has no build, any torch >= 2.4 serves.
TORCH ?= torch==2.13.0
LOWEST_PYTHON ?= python3.10
NEWEST_PYTHON ?= python3.13
CONFIG ?= configs/quickstart.yaml
ARGS ?=
CACHE := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/roma_pyg/wheels
STAMP := $(VENV)/.roma-installed

.DEFAULT_GOAL := help
.PHONY: help setup train test bench-scale bench-derivatives bench-step kernels kernels-cached lint format types docs site test-versions check clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## make .venv and install everything (PYTHON=python3.12 chooses another python)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' || { \
	  echo "roma_pyg needs Python 3.10 to 3.13; choose one: make PYTHON=python3.11 setup"; exit 1; }
	@test -x $(BIN)/python || { echo "Making the virtual environment $(VENV) ..."; \
	  $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "This python has no venv; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }; }
	@echo "Installing PyTorch (a few minutes) ..."
	@$(BIN)/python -c 'import torch' 2>/dev/null || $(PIP) install "$(TORCH)" || { \
	  echo "No $(TORCH) for this python; taking the newest torch."; $(PIP) install "torch>=2.4"; }
	@echo "Installing roma_pyg and what it needs (a few minutes) ..."
	@$(PIP) install --editable ".[dev]"
	@touch $@

train: setup ## set up, then train the quickstart (CONFIG=..., ARGS="--max_steps 100")
	@$(BIN)/python -c 'import torch_scatter, torch_sparse' 2>/dev/null || \
	  echo "Optional, faster sampling and reductions: make kernels (compiles for about 20 minutes)"
	@$(BIN)/roma-train --config $(CONFIG) $(ARGS)

# Several files of tests at a time, each on one core.
test: setup ## set up, then run the tests
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

# Compiled wheels fit one version of torch and python, so they are kept in a folder per pair.
# The folder is read when the recipe runs, since torch may not be installed before.
KEY = $$($(BIN)/python -c 'import platform, sys, torch; print("torch%s-cp%d%d-%s" % (torch.__version__, *sys.version_info[:2], platform.machine()))')

kernels: setup ## compile torch-scatter and torch-sparse (or take them from the cache) and install them
	@set -e; folder="$(CACHE)/$(KEY)"; mkdir -p "$$folder"; \
	if ls "$$folder"/torch_scatter*.whl "$$folder"/torch_sparse*.whl >/dev/null 2>&1; then \
	  echo "Taking the compiled kernels from $$folder"; \
	else \
	  echo "Compiling torch-scatter and torch-sparse, about 20 minutes on 2 cores ..."; \
	  $(PIP) install setuptools wheel ninja; \
	  for name in torch-scatter torch-sparse; do \
	    $(PIP) wheel --no-build-isolation --no-deps --wheel-dir "$$folder" $$name; \
	  done; \
	fi; \
	$(PIP) install --no-index --no-deps --force-reinstall "$$folder"/torch_scatter*.whl "$$folder"/torch_sparse*.whl; \
	$(BIN)/roma-doctor

kernels-cached: setup ## exit with 0 if compiled kernels lie in the cache
	@ls "$(CACHE)/$(KEY)"/torch_scatter*.whl "$(CACHE)/$(KEY)"/torch_sparse*.whl >/dev/null 2>&1

bench-scale: setup ## time and memory of every phase up to 3 million nodes (two hours, 20 GB of disk)
	@$(BIN)/python benchmarks/scale.py $(ARGS)

bench-derivatives: setup ## a training step with an effective law against other ways to differentiate
	@$(BIN)/python benchmarks/derivatives.py $(ARGS)

bench-step: setup ## seconds and memory of a training step at the published and other sizes
	@$(BIN)/python benchmarks/step.py $(ARGS)

lint: setup ## ruff: format and rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

format: setup ## let ruff mend what it can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

types: setup ## mypy on the whole package
	@$(BIN)/mypy

docs: setup ## write docs/configuration.md anew
	@$(BIN)/python docs/make_configuration.py

site: docs ## write the documentation with the API to build/site; warnings are errors
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The site begins at build/site/index.html"

test-versions: setup ## the wheel in new environments: lowest declared versions, newest (10 GB, 30 minutes)
	@$(BIN)/python tests/packaging/check_versions.py lowest --python $(LOWEST_PYTHON)
	@$(BIN)/python tests/packaging/check_versions.py newest --python $(NEWEST_PYTHON)

check: lint types test ## everything that CI checks

clean: ## remove the environment and caches; data/ and runs/ stay
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
