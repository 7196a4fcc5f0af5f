# What one does here, in one word each. PYTHON is the interpreter of a virtual environment with .[dev].
PYTHON ?= .venv/bin/python

.PHONY: venv test quick kernel lint types goldens bench check wheel clean

venv:            ## a virtual environment with everything
	python3 -m venv .venv && .venv/bin/pip install -q -e '.[dev]'
test:            ## all tests that this machine can run
	$(PYTHON) -m pytest -n auto --dist loadfile
quick:           ## the tests that need no kernel and no tshark
	$(PYTHON) -m pytest -m 'not kernel and not tshark' -x -q
kernel:          ## compare every scenario with the Linux kernel
	$(PYTHON) -m k8semu verify --all
lint:            ## style, and imports that point down only
	$(PYTHON) -m ruff check k8semu tests benchmarks && $(dir $(PYTHON))lint-imports
types:           ## mypy, strict
	$(PYTHON) -m mypy
goldens:         ## write pcaps/ anew: the one command that does (say in the commit why)
	$(PYTHON) -m tests.golden.write
bench:           ## the table of ratios
	$(PYTHON) -m benchmarks
check:           ## what CI runs
	bash .ci/run
wheel:           ## a wheel with the scenarios in it
	$(PYTHON) -m pip wheel -q --no-deps -w dist .
clean:
	rm -rf dist captures .mypy_cache .ruff_cache .pytest_cache .hypothesis
