# One way to do each thing. `make` alone lists them.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-stamp
SCENARIO ?= scenarios/concurrent_workflows.toml
PYTHON ?= python3

.DEFAULT_GOAL := help
.PHONY: help setup run test check bench gate-live golden resilience resilience-full runbook reference clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv with everything that run and test need

$(STAMP): pyproject.toml
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python '>=3.11' $(VENV) && \
	  uv pip install --quiet --python $(BIN)/python -e '.[postgres,embedded,llm,otel,test,check]'; \
	else \
	  $(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)' && \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[postgres,embedded,llm,otel,test,check]'; \
	fi
	@touch $(STAMP)

run: $(STAMP) ## run SCENARIO (the main job: 10, 25, 50 concurrent workflows) and judge it
	$(BIN)/harness run $(SCENARIO)

test: $(STAMP) ## run the whole test suite
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(STAMP) ## lint, format and types; check every shipped scenario
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/harness check scenarios

resilience: $(STAMP) ## walk the fault catalogue at 25 workflows at once, each row beside its control arm: about half an hour
	$(BIN)/harness run scenarios/resilience --level 25

resilience-full: $(STAMP) ## the same at 10, 25 and 50: about an hour and a half
	$(BIN)/harness run scenarios/resilience

runbook: $(STAMP) ## write docs/runbook from the catalogue: what each row breaks, how it shows, what to do
	$(BIN)/harness runbook scenarios/resilience docs/runbook

reference: $(STAMP) ## write docs/reference from the source: every key, fault and metric
	$(BIN)/harness schema --reference docs/reference

bench: $(STAMP) ## measure what the product costs, as ratios of interleaved rounds
	$(BIN)/python -m tests.bench

gate-live: $(STAMP) ## 20 duets of this build against itself, and 20 against a slower one: about an hour
	$(BIN)/python tests/bench/gate_live.py

golden: $(STAMP) ## renew the golden files of the reports; look at the diff before you commit it
	$(BIN)/python -m pytest tests/report --update-golden

clean: ## remove the environment and caches, never reports or baselines
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
