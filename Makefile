# make run [CONFIG=configs/NAME.yaml]   make test   make test-slow   make coverage   make lint   make clean
# make cluster [ACCOUNTING=1]
PYTHON ?= python3
CONFIG ?= configs/quickstart.yaml
BIN := .venv/bin
READY := .venv/.ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run setup test test-slow coverage lint format schema picture bench cluster clean

run: $(READY)
	@$(BIN)/headrace check "$(CONFIG)"
	@$(BIN)/snakemake --cores all --configfile "$(CONFIG)"
	@$(BIN)/headrace where "$(CONFIG)"

setup: $(READY)

$(READY): pyproject.toml envs/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Headrace needs Python 3.11 or newer, not %d.%d: make PYTHON=python3.11" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint envs/constraints.txt --editable '.[demo,test]'
	@# Of sktime only a file is read, and what it depends on would hold pandas back.
	$(BIN)/pip install --quiet --constraint envs/constraints.txt --no-deps sktime
	@touch $@

test: $(READY)
	$(BIN)/python -m pytest -m "not slow and not gpu"

# Without what needs a cluster: tracing slows tests down.
coverage: $(READY)
	$(BIN)/python -m pytest --cov --cov-report=term -m "not slow and not gpu and not cluster"

test-slow: $(READY)
	$(BIN)/python -m pytest -m "slow and not gpu"

lint: $(READY)
	$(BIN)/python -m pytest -q tests/unit/test_style.py tests/workflow/test_lint.py

format: $(READY)
	$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet . ; $(BIN)/snakefmt Snakefile workflow

schema: $(READY)
	$(BIN)/python -m pytest -q tests/unit/experiments/test_schema.py --fix

# The picture in the README, of the quickstart's report.
picture: $(READY)
	@$(MAKE) --no-print-directory run CONFIG=configs/quickstart.yaml
	$(BIN)/python -m pytest -q tests/workflow/test_pictures.py --fix

bench: $(READY)
	$(BIN)/python tests/benchmarks/$(NAME).py

cluster: $(READY)
	@PYTHONPATH=tests $(BIN)/python -m cluster $(if $(ACCOUNTING),--accounting)

clean:
	rm -rf artifacts results .snakemake
