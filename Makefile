# Each target makes the virtual environment when there is none; a second call is quick.
# The first that runs of those that TensorFlow supports.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
	$$name -c 'import ensurepip' 2>/dev/null && echo $$name && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
WITH_TESTS := $(VENV)/.installed-with-tests
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist loadfile

.PHONY: demo test test-slow lint format bench clean

demo: $(INSTALLED)
	$(BIN)/python -m priors map --simulate --out demo --seed 0

# A process keeps every program that it has compiled, so each folder has processes of its own.
test: $(WITH_TESTS)
	$(PYTEST) tests/flowpm_ext/lensing
	$(PYTEST) tests/flowpm_ext/pm
	$(PYTEST) tests/flowpm_ext/cosmology
	$(PYTEST) tests/flowpm_ext --ignore tests/flowpm_ext/lensing \
		--ignore tests/flowpm_ext/pm --ignore tests/flowpm_ext/cosmology
	$(PYTEST) tests/lfi
	$(PYTEST) tests/priors
	$(PYTEST) tests/rim
	$(PYTEST) tests/benchmarks tests/test_*.py

test-slow: $(WITH_TESTS)
	$(PYTEST) --slow

lint: $(WITH_TESTS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(WITH_TESTS)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED)
	$(BIN)/pip install --quiet -e ".[bench]"
	$(BIN)/python -m benchmarks.cosmology
	$(BIN)/python -m benchmarks.particle_mesh

$(INSTALLED): setup.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	touch $@

$(WITH_TESTS): $(INSTALLED)
	$(BIN)/pip install --quiet --disable-pip-version-check -e ".[test]"
	touch $@

clean:
	rm -rf $(VENV) demo
