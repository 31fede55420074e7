# Two commands do everything on a fresh Debian machine with Python 3.11: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= 1

.PHONY: help demo test check coverage package format bench docs setup ngspice clean

help:
	@echo "make demo    set everything up, size an amplifier on the surrogate, verify it in ngspice, write a report"
	@echo "make test    set everything up, then run the test suite"
	@echo "make check   formatting, lint and types"
	@echo "make package use the built wheel in a fresh environment outside the checkout"
	@echo "make coverage   the test suite, and which lines and branches it reaches, in build/coverage"
	@echo "make bench   every benchmark of benchmarks/ (long)"
	@echo "make docs    the documentation site, in build/docs"
	@echo "make format  reformat the code"
	@echo "make clean   remove the virtual environment and build products"

DATA ?= data/nmcf-uniform data/nmcf-targeted data/nmcnr-targeted

# Sizes NMCF on the surrogate, verifies in ngspice, and writes the report of the best design. Without ngspice nothing can
# be verified (and zsgym size would end with 3): the report of a known sizing then holds predictions, and says so.
DEMO := runs/demo
demo: setup
	@if command -v ngspice >/dev/null; then \
	  $(BIN)/zsgym size nmcf --out $(DEMO)/designs.json --report $(DEMO)/report.html --netlist $(DEMO)/nmcf.spice; \
	else \
	  $(BIN)/zsgym report nmcf --known-good robust --out $(DEMO)/report.html; \
	fi
	@echo "open $(DEMO)/report.html in a browser"

# Tests of one file stay in one process: they share what is expensive to set up.
TEST_PROCESSES ?= 2
test: setup
	$(BIN)/python -m pytest --ngspice required -n $(TEST_PROCESSES) --dist loadfile $(PYTEST_ARGS)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The commands that tests start count, too; the workers that are forked around ngspice do not.
coverage: setup
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --ngspice required $(PYTEST_ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report

# What a user gets: the wheel, first with its own requirements only, then with every extra that is not for contributors.
# Without --no-compile, pip would compile thousands of modules of which few are imported.
package: $(VENV)/.installed
	@set -e; unset PYTHONPATH; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	$(BIN)/python -m hatchling build -t wheel -t sdist -d "$$folder"; \
	$(PYTHON) -m venv "$$folder/venv"; wheel=$$(echo "$$folder"/*.whl); \
	install="$$folder/venv/bin/python -m pip install --quiet --no-compile --constraint $(CURDIR)/constraints.txt"; \
	try="$$folder/venv/bin/python -P $(CURDIR)/tests/installed.py"; cd "$$folder"; \
	$$install "$$wheel"; venv/bin/zsgym --version; $$try; \
	$$install "$$wheel[bench,export]"; $$try bench export

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup
	$(BIN)/python benchmarks/spice_speed.py
	$(BIN)/python benchmarks/surrogate_vs_spice.py --data $(DATA)
	$(BIN)/python benchmarks/zero_shot.py --data $(DATA)
	$(BIN)/python benchmarks/env_speed.py
	$(BIN)/python benchmarks/sizing.py

docs: $(VENV)/.installed
	$(BIN)/python -m sphinx -W --keep-going -b html docs build/docs
	@echo "open build/docs/index.html"

setup: $(VENV)/.installed ngspice
	@$(BIN)/zsgym pdk install

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "installing Python packages in $(VENV): minutes, and silent (README: how to leave out CUDA)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,bench]"
	@touch $@

# Installs ngspice when it is missing and we may; otherwise says what to do and lets the rest go on.
ngspice:
	@command -v ngspice >/dev/null && ldconfig -p | grep -q libngspice.so.0 && exit 0; \
	if [ "$$(id -u)" = 0 ]; then SUDO=; else SUDO="sudo -n"; fi; \
	{ $$SUDO apt-get update -qq && $$SUDO apt-get install -qq -y ngspice libngspice0; } >/dev/null 2>&1 \
	|| echo "ngspice could not be installed automatically; run as root: apt-get install ngspice libngspice0"

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
