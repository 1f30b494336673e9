# Every target does its own set-up: a fresh machine needs Python 3.11+ and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo experiments report test bench lint clean
.DEFAULT_GOAL := setup

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "socsim needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

setup: $(READY)  ## create .venv with everything

demo: $(READY)  ## simulate a prompt under all engines and schedulers; writes results/demo
	$(BIN)/socsim experiment demo --out results --force

experiments: $(READY)  ## all figures and tables of the paper, with what was published beside them; writes results/NAME; goes on where it stopped
	-$(BIN)/socsim weights fetch
	$(BIN)/socsim experiment --all --out results

report: $(READY)  ## results/index.html: everything that the experiments found, in one page
	-$(BIN)/socsim weights fetch
	$(BIN)/socsim report --out results

test: $(READY)  ## fetch real weights (once) and run the tests, with branch coverage; without weights, tests that need them skip
	@if $(BIN)/socsim weights fetch; then export SOCSIM_REQUIRE_WEIGHTS=1; fi; \
	export OPENBLAS_NUM_THREADS=1; $(BIN)/python -m pytest --numprocesses 2 --cov --cov-report term

bench: $(READY)  ## print the speed ratios and fail if one does not hold
	@failed=0; for part in speed schedulers numerics sweeps; do $(BIN)/python bench/$$part.py || failed=1; done; exit $$failed

lint: $(READY)  ## check style, types and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:  ## remove what the targets made
	rm -rf $(VENV) results dist build
