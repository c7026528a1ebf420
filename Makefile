# Each target makes the virtual environment when there is none; a second call is quick.
# The first that runs of those that TensorFlow supports.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
	$$name -c 'import ensurepip' 2>/dev/null && echo $$name && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
WITH_TESTS := $(VENV)/.installed-with-tests
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist loadfile

.PHONY: demo test test-slow test-floor lint format bench clean

demo: $(INSTALLED)
	$(BIN)/python -m priors map --simulate --out demo --seed 0

# A process keeps every program that it has compiled, so each folder has processes of its own.
# `make --keep-going test` runs the other folders after a failure too.
FOLDERS := lensing pm cosmology engine lfi priors rim whole
lensing_TESTS := tests/flowpm_ext/lensing
pm_TESTS := tests/flowpm_ext/pm
cosmology_TESTS := tests/flowpm_ext/cosmology
engine_TESTS := tests/flowpm_ext $(addprefix --ignore tests/flowpm_ext/,lensing pm cosmology)
lfi_TESTS := tests/lfi
priors_TESTS := tests/priors
rim_TESTS := tests/rim
whole_TESTS := tests/benchmarks $(wildcard tests/test_*.py)
.PHONY: $(FOLDERS:%=test-%)

test: $(FOLDERS:%=test-%)

$(FOLDERS:%=test-%): test-%: $(WITH_TESTS)
	$(PYTEST) $($*_TESTS)

test-slow: $(WITH_TESTS)
	$(PYTEST) --slow

# The oldest TensorFlow, and the Keras of its time. TPUs have none that is newer.
FLOOR := tensorflow==2.20.* tf-keras==2.20.* keras==3.12.*
FLOOR_VENV ?= .venv-floor

test-floor:
	test -x $(FLOOR_VENV)/bin/python || $(PYTHON) -m venv $(FLOOR_VENV)
	$(FLOOR_VENV)/bin/pip install --quiet --disable-pip-version-check -e ".[test]" $(FLOOR:%='%')
	touch $(FLOOR_VENV)/.installed $(FLOOR_VENV)/.installed-with-tests
	$(MAKE) test VENV=$(FLOOR_VENV)

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
	rm -rf $(VENV) $(FLOOR_VENV) demo
