# `make help` lists the targets. Every target sets the environment up by itself.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

export RAY_USAGE_STATS_ENABLED := 0
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: help setup serve test test-fast test-browser screenshots lint types contracts lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

setup: $(READY) ## Make .venv and install the pinned dependencies

serve: setup ## Prepare the starter models and serve on http://127.0.0.1:8000 until Ctrl-C
	$(BIN)/trivet prepare serve_config.yaml
	$(BIN)/trivet serve serve_config.yaml

test: setup lint types contracts ## Lint, types, import contracts, all tests of the main suite
	$(BIN)/python -m pytest

test-fast: setup ## The inner loop: no Ray, no browser, nothing slow
	$(BIN)/python -m pytest -m 'not ray and not slow and not browser'

test-browser: setup ## The page at /ui in Debian's chromium (apt-get install chromium fonts-inter)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[browser]'
	$(BIN)/python -m pytest -m 'browser and not ray' tests/ui

screenshots: setup ## Take the pictures in docs/img anew: the starter models on a simulated card
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[browser]'
	TRIVET_SCREENSHOTS=docs/img $(BIN)/python -m pytest tests/ui/test_with_ray.py

lint: setup ## ruff, hadolint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint Dockerfile

types: setup ## mypy, strict
	$(BIN)/mypy

contracts: setup ## Import boundaries
	$(BIN)/lint-imports

lock: setup ## Write constraints.txt anew from what is installed
	$(BIN)/python scripts/lock.py > constraints.txt.new && mv constraints.txt.new constraints.txt

clean: ## Remove what the targets made (not the model cache)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
