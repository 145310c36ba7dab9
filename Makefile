# Each target is enough on its own on a fresh machine with Python >= 3.11 and make: it sets .venv up first.

.DEFAULT_GOAL := help
.PHONY: help setup train test lint format docs wheel clean

# The first Python that is new enough; PYTHON=... chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
# pinned: the torch of constraints.txt. user: the torch that PYTHON already has (for example a CUDA build); for one in
# a virtual environment of yours, name that with VENV=... and everything else is installed there.
TORCH ?= pinned
# More arguments for pip, such as a package index with CPU wheels.
PIP_ARGS ?=
# Arguments of the command that a target runs.
ARGS ?=
# Processes that run the tests.
JOBS ?= 2

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-$(TORCH)
# A .venv made here with the other choice of torch starts over. Environments that were not made here are never cleared.
OTHER := $(filter-out $(STAMP),$(wildcard $(VENV)/.installed-*))
MADE := $(VENV)/.made-by-canvas_rl
SOURCES := $(wildcard canvas_rl envs agents docs examples experiments tests)

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo 'Variables: ARGS="--agent random"  TORCH=user  PYTHON=python3.12  JOBS=2'
	@echo '           PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"'

setup: $(STAMP) ## Create .venv and install everything (quick when done before)

$(STAMP): pyproject.toml setup.py constraints.txt $(wildcard canvas_rl/space/core/*)
	@test -n "$(PYTHON)" || { echo "no Python >= 3.11 was found: install one, or name it with PYTHON=..." >&2; exit 2; }
	@case "$(TORCH)" in pinned|user) ;; *) echo "TORCH is '$(TORCH)': expected pinned or user" >&2; exit 2;; esac
	@if test -e $(VENV) && ! test -e $(MADE); then \
		$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo "$(VENV) was not made here and has no pip:" \
			"install pip there, delete it, or name another environment with VENV=..." >&2; exit 2; }; \
	elif test -n "$(OTHER)" || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		$(PYTHON) -m venv --clear $(if $(filter user,$(TORCH)),--system-site-packages) $(VENV) && touch $(MADE); \
	fi
ifeq ($(TORCH),user)
	@$(BIN)/python -c 'import torch; print("using torch", torch.__version__)' \
		|| { echo "TORCH=user needs torch in $(PYTHON) or in $(VENV): install it there, or leave TORCH out" >&2; exit 2; }
	grep -v '^torch==' constraints.txt > $(VENV)/constraints.txt
else
	cp constraints.txt $(VENV)/constraints.txt
endif
	$(BIN)/python -m pip install --disable-pip-version-check --quiet $(PIP_ARGS) -c $(VENV)/constraints.txt -e '.[dev]'
	@touch $@

train: $(STAMP) ## Search a kernel with PPO; ARGS="..." passes more
	$(BIN)/python -m canvas_rl.train --agent ppo $(ARGS)

test: $(STAMP) ## Run the whole test suite; ARGS="..." passes more to pytest
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile $(ARGS)

lint: $(STAMP) ## Check style, types and the layers of imports
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Rewrite the sources in the project's format
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

docs: $(VENV)/.extra-docs ## Build the documentation site into site/, with every link checked
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

wheel: $(VENV)/.extra-release ## Build sdist and wheel into dist/, the wheel from the sdist, and check both
	rm -rf build dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

# What only one target needs: an extra of pyproject.toml, installed without building canvas_rl again.
$(VENV)/.extra-%: $(STAMP)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet $(PIP_ARGS) -c $(VENV)/constraints.txt \
		$$($(BIN)/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['$*'])")
	@touch $@

clean: ## Remove .venv, builds and caches
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
