# The only door. Bare `make` prints what there is.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
SYNCED := .venv/.synced
# Every target works from this lock: `make lock` is the only one that changes it.
UV := $(BIN)/uv
PYTEST := $(BIN)/python -m pytest
FAULTS := tests/faults tests/sim tests/integration/etl/test_cuts.py tests/integration/cli/test_up.py

##@ Use
.PHONY: help
help:  ## Print this list
	@awk 'BEGIN {FS = ":.*##"} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*##/ {printf "  make %-14s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: sync
sync: $(SYNCED)  ## Install everything into .venv, from nothing but Python >= 3.11

$(SYNCED): pyproject.toml uv.lock $(wildcard */pyproject.toml services/*/pyproject.toml) tools/bootstrap.py
	@$(PYTHON) -c 'import sys; sys.exit("FluxForge needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 " + "$(MAKECMDGOALS)") if sys.version_info < (3, 11) else None'
	@$(PYTHON) tools/bootstrap.py
	@$(UV) sync --frozen --quiet --compile-bytecode
	@touch $@

.PHONY: demo
demo: sync  ## Run the whole system for 60 s against a simulated exchange, then query what it made
	@$(BIN)/fluxforge demo

.PHONY: clean
clean:  ## Remove what the demo and the tools left behind (not your data)
	rm -rf data/demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

##@ Test
.PHONY: test
test: sync  ## Run every test but the benchmarks, with a few faults of each kind
	@$(PYTEST) -n 6 --dist loadfile

.PHONY: faults
faults: sync  ## Inject every fault as often as claimed; writes the table of docs/reliability.md
	@FLUXFORGE_FAULTS_COMMAND="make faults" $(PYTEST) $(FAULTS) --faults full --faults-table docs/reliability.md -v -n 3 --dist worksteal -p no:randomly

.PHONY: images
images:  ## Build the images of all services
	@docker compose -f deploy/docker-compose.yml --profile '*' build

.PHONY: e2e
e2e: sync  ## Run the compose file in this machine's Docker engine: scale it, kill it, look at it
	@$(PYTEST) tests/e2e --e2e -v -n 3 --dist loadfile $(E2E)

.PHONY: check
check: fmt-check lint types imports test  ## All that must hold before a commit

.PHONY: fmt
fmt: sync  ## Format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix-only --quiet .

.PHONY: fmt-check
fmt-check: sync
	@$(BIN)/ruff format --check --quiet .

.PHONY: lint
lint: sync  ## Lint
	@$(BIN)/ruff check .

.PHONY: types
types: sync  ## Check types (mypy, strict)
	@$(BIN)/mypy

.PHONY: imports
imports: sync  ## Check who may import whom
	@$(BIN)/lint-imports

.PHONY: bench
bench: sync  ## Measure; prints the tables of docs/benchmarks.md
	@$(BIN)/python -m benchmarks

.PHONY: lock
lock: sync  ## Resolve the dependencies anew
	@$(UV) lock
