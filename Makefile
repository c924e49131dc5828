# Two commands are enough: `make run` and `make test`. Both set up `.venv` first, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONFIG ?= configs/car_evaluation.yaml
STAMP := $(VENV)/.installed

.PHONY: run test test-slow check bench clean-env
run: $(STAMP)
	@$(BIN)/evergreen run $(CONFIG)

# A file's tests stay in one process, for they share servers and homes. Slow ones start servers and
# trainings of their own: more than two at once would only wait for each other.
test: $(STAMP)
	@$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile

test-slow: $(STAMP)
	@$(BIN)/pytest -m slow --numprocesses auto --maxprocesses 2 --dist loadfile

check: $(STAMP)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports
	@$(BIN)/pyright
	@$(BIN)/deptry .
	@$(BIN)/codespell
	@echo "make check: all fine"

bench: $(STAMP)
	@$(BIN)/python -m benchmarks.textbook
	@$(BIN)/python -m benchmarks.overhead
	@$(BIN)/python -m benchmarks.encode
	@$(BIN)/python -m benchmarks.train

# pip installs once; a change of the bounds installs again.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Evergreen needs Python 3.11 or newer; choose one: make run PYTHON=python3.12")'
	@echo "setting up $(VENV) with $$($(PYTHON) --version); this happens once and takes minutes"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,postgres,s3]'
	@touch $(STAMP)

clean-env:
	rm -rf $(VENV)
