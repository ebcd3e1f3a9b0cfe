# `make help` lists the targets. Every target creates the environment if necessary.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# pip would compile 19,000 files one after another, for a minute. Python compiles those that it imports, and keeps them.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

export RAY_USAGE_STATS_ENABLED := 0
export HF_HUB_DISABLE_TELEMETRY := 1
# Tests start many processes; without cached bytecode each of them compiles the same files again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: bench-gpu checks part-engine part-libraries part-http part-rest fast-models fast-rest help setup serve test test-fast test-ray test-research test-gpu test-clients test-fuzz test-browser test-prometheus screenshots squeeze chaos test-hostile test-models test-packaging stress soak resilience-docs docs bench bench-peers \
        bench-serving audit \
        lint types contracts lock readme clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -c constraints.txt -e '.[dev,docs]'
	touch $@

setup: $(READY) ## Create .venv and install the pinned dependencies

serve: setup ## Prepare the starter models and serve on http://127.0.0.1:8000 until Ctrl-C
	$(BIN)/trivet prepare serve_config.yaml
	$(BIN)/trivet serve serve_config.yaml

# Suites that need other programs or more time; each has a target below.
SPECIAL := browser or chaos or hostile or clients or fuzz or gpu or prometheus or models or packaging

# The main suite in parts, each of which imports other libraries: a process that ran two of them would import both.
ENGINE := $(addprefix tests/,engine models)
LIBRARIES := $(addprefix tests/,checkpoint cli doctor evaluation index mcp relations security starter vram)
HTTP := $(addprefix tests/,api client)
PARTS := part-engine part-libraries part-http part-rest

# Two jobs at a time. The Ray tests wait for processes about as long as they compute, so the others run beside them, the
# longest first.
test: setup ## Lint, types, import contracts, documentation, and the main test suite
	$(MAKE) --jobs=2 --output-sync=line test-ray checks $(PARTS)

MAIN = $(BIN)/python -m pytest -o cache_dir=.pytest_cache/$@ -m 'not (ray or $(SPECIAL))'

part-engine: setup
	$(MAIN) $(ENGINE)

part-libraries: setup
	$(MAIN) $(LIBRARIES)

part-http: setup
	$(MAIN) $(HTTP)

part-rest: setup
	$(MAIN) $(patsubst %,--ignore=%,$(ENGINE) $(LIBRARIES) $(HTTP)) tests

checks: lint types contracts docs

test-ray: setup ## The tests that start a Ray cluster
	$(BIN)/python -m pytest -m 'ray and not ($(SPECIAL))'

# Two processes: what loads models, and the rest.
FAST = TRIVET_HYPOTHESIS=fast $(BIN)/python -m pytest -o cache_dir=.pytest_cache/$@ -m 'not (ray or slow or $(SPECIAL))'

test-fast: setup ## The fast tests: no Ray, no slow tests
	$(MAKE) --jobs=2 --output-sync=target fast-models fast-rest

fast-models:
	$(FAST) $(ENGINE) $(LIBRARIES)

fast-rest:
	$(FAST) $(patsubst %,--ignore=%,$(ENGINE) $(LIBRARIES)) tests

test-research: setup ## The tests of model training and of building benchmark data
	$(BIN)/python -m pytest -n 2 research/tests

test-gpu: setup ## The tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu

test-clients: setup ## The service with real client libraries (openai, cohere, langchain, haystack, litellm, …) and the examples of docs/integrations.md
	test -x .venv-clients/bin/python || $(PYTHON) -m venv .venv-clients
	.venv-clients/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-clients.txt
	TRIVET_PYTHON=$(BIN)/python .venv-clients/bin/python -m pytest -c /dev/null --rootdir . --confcutdir tests/integrations -o asyncio_mode=auto tests/integrations

test-fuzz: setup ## 10,000 generated requests from the OpenAPI schema
	$(PIP) -c constraints.txt -e '.[fuzz]'
	TRIVET_FUZZ_CASES=10000 $(BIN)/python -m pytest -m fuzz tests/fuzz

test-prometheus: setup ## All queries of panels and alerts in a real Prometheus (apt-get install prometheus)
	$(BIN)/python -m pytest -m prometheus tests/ops

docs: setup ## Build the documentation in strict mode
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench-peers: setup ## Install the libraries that the benchmark compares with into .cache/peers
	PYTHON=$(abspath $(BIN)/python) bench/peers/setup.sh

bench: setup ## Compare the engine with other libraries (resumable); update docs/benchmarks.md
	$(BIN)/python -m bench.engine.compare
	$(BIN)/python -m bench.engine.report

bench-gpu: setup ## On a machine with an NVIDIA GPU: the engine, sentence-transformers, the service, the squeeze, one process for all models; update docs/benchmarks.md
	$(BIN)/python -m bench.engine.gpu
	$(BIN)/python -m bench.engine.gpu.report

bench-serving: setup ## Measure the overhead of serving: Ray's defaults, tuned, without Ray; update docs/benchmarks.md
	$(BIN)/python -m bench.serving.compare

squeeze: setup ## Another process takes a simulated GPU's memory for 3 minutes, under 16 clients
	$(BIN)/python -m bench.resilience.squeeze

chaos: setup ## Kill, freeze and starve parts of a service under 16 clients; update bench/results/chaos.json
	TRIVET_CHAOS_RESULTS=bench/results/chaos.json $(BIN)/python -m pytest -m chaos tests/chaos tests/deployments/test_serve.py

test-models: setup ## Published layouts (tests/models/STATES.md) against the reference libraries, and combinations that make test leaves out
	$(BIN)/python -m pytest -n 2 -m models tests/models tests/engine

test-hostile: setup ## What no body, connection or dead process may do: take the service down
	$(BIN)/python -m pytest -m hostile tests

test-packaging: setup ## Build the wheel, install it into new environments, and serve from an empty folder (installs torch)
	$(BIN)/python -m pytest -m packaging tests/packaging

stress: setup ## Three minutes of everything at twice the capacity: CPU, simulated GPU, naive server
	$(BIN)/python -m bench.resilience.stress cpu
	$(BIN)/python -m bench.resilience.stress simulated
	$(BIN)/python -m bench.resilience.stress naive

soak: setup ## Half an hour at half load, to check that memory does not grow
	$(BIN)/python -m bench.resilience.stress cpu --soak

resilience-docs: setup ## Update the tables and the plot of docs/resilience.md and docs/memory.md from the results
	$(BIN)/python -m bench.resilience.report
	$(BIN)/python -m bench.resilience.stress_plot

test-browser: setup ## The page at /ui in Debian's chromium (apt-get install chromium fonts-inter)
	$(PIP) -c constraints.txt -e '.[browser]'
	$(BIN)/python -m pytest -m 'browser and not ray' tests/ui

screenshots: setup ## Take the pictures in docs/img: the starter models on a simulated GPU
	$(PIP) -c constraints.txt -e '.[browser]'
	TRIVET_SCREENSHOTS=docs/img $(BIN)/python -m pytest tests/ui/test_with_ray.py

lint: setup ## Run ruff and hadolint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint Dockerfile

types: setup ## Run mypy in strict mode
	$(BIN)/mypy

contracts: setup ## Check the import boundaries
	$(BIN)/lint-imports

audit: setup ## Check pins and known vulnerabilities (AUDIT=--strict: fail if pypi.org cannot be reached)
	test -x .venv-audit/bin/python || $(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	$(BIN)/python scripts/audit.py --pip-audit .venv-audit/bin/pip-audit $(AUDIT)

lock: setup ## Rewrite constraints.txt from the installed packages
	$(BIN)/python scripts/lock.py > constraints.txt.new && mv constraints.txt.new constraints.txt

readme: setup ## Fill the examples of README and docs/index.md with the output of the service on port 8000
	$(BIN)/python scripts/readme_outputs.py

clean: ## Remove what the targets created, except for the model cache
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
