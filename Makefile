# Development of tinyt2. `make` alone lists what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= $(firstword $(shell command -v python3.11) $(shell command -v python3))
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# What is installed in .venv: marks that are older than these files are out of date.
CREATED := $(VENV)/.created
LIGHT := $(VENV)/.light
FULL := $(VENV)/.full
PINS := pyproject.toml constraints.txt

# The build back end comes from the constraints too, hence no build isolation.
PIP_INSTALL := $(BIN)/python -m pip install -qq --constraint constraints.txt

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: install
install: $(FULL) ## everything: serving, training, demo, tests (.venv)
	@:

# The light environment is enough for the demo; where there is a full one, that is used.
.PHONY: demo
demo: $(if $(wildcard $(FULL)),$(FULL),$(LIGHT)) ## a minute of real alerts through a real broker
	@$(BIN)/tinyt2 demo

.PHONY: test
test: $(FULL) ## all tests that need nothing but Python
	@$(BIN)/python -m pytest -m "not system"

.PHONY: test-system
test-system: $(FULL) ## tests that need Debian packages: Java 17, Chromium, prometheus, shellcheck, systemd
	@$(BIN)/python -m pytest -m system tests/system

.PHONY: screenshot
screenshot: $(FULL) ## the pictures of the live page: ten minutes, needs Chromium
	@$(BIN)/python -m tests.system.screenshot

.PHONY: test-long
test-long: $(FULL) ## tests that take many minutes
	@$(BIN)/python -m pytest --run-long -m long -s

.PHONY: lint
lint: $(FULL) ## lint, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

.PHONY: format
format: $(FULL) ## format the code
	@$(BIN)/ruff check --fix --exit-zero .
	@$(BIN)/ruff format .

# A new environment without constraints; a build label such as +cpu of this machine's
# torch is taken off, since others install another build of the same version.
.PHONY: constraints
constraints: ## renew constraints.txt from one clean install
	@scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	$(PYTHON) -m venv "$$scratch/venv"; \
	"$$scratch/venv/bin/python" -m pip install -qq --upgrade setuptools numpy Cython; \
	"$$scratch/venv/bin/python" -m pip install -qq --no-build-isolation ".[dev]"; \
	{ echo "# One clean install of tinyt2[dev]: made by 'make constraints', used by every install."; \
	  "$$scratch/venv/bin/python" -m pip freeze --all --exclude pip --exclude tinyt2 \
	    | sed 's/+[a-z0-9.]*$$//'; } > "$$scratch/constraints.txt"; \
	cp "$$scratch/constraints.txt" constraints.txt

.PHONY: clean
clean: ## remove the environment and everything that was built
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find models stream compress deploy tests -name __pycache__ -prune -exec rm -rf {} +

$(CREATED):
	@$(if $(PYTHON),,echo "no python3 found: install Python 3.11 or newer" >&2; exit 1)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tinyt2 needs Python 3.11 or newer, this is $$($(PYTHON) --version):" \
	    "make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# Bytecode is left to the first import: a third of the time is saved.
$(LIGHT): $(PINS) | $(CREATED)
	@echo "installing what serving and the demo need"
	@$(PIP_INSTALL) setuptools
	@$(PIP_INSTALL) --no-compile --no-build-isolation --editable ".[demo]"
	@touch $@

# sncosmo and what it needs are built from source, with numpy and Cython.
$(FULL): $(PINS) | $(CREATED)
	@echo "installing everything"
	@$(PIP_INSTALL) setuptools numpy Cython
	@$(PIP_INSTALL) --no-build-isolation --editable ".[dev]"
	@touch $(LIGHT) $@
