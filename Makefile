# Everything sets itself up in .venv; torch is pinned in constraints.txt for these commands alone.
VENV := .venv
PIP := $(VENV)/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt
PY := $(VENV)/bin/python

.PHONY: demo test test-slow check bench claims docs clean

demo: $(VENV)/.demo  ## train on real handwritten digits and show what came out
	$(VENV)/bin/unnoise train digits --out runs/digits
	@echo; echo "The report: file://$(CURDIR)/runs/digits/report.html"

test: $(VENV)/.dev  ## formatter, linter, types, then the tests
	$(MAKE) --no-print-directory check
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist worksteal -m "not slow"

test-slow: $(VENV)/.dev  ## the trainings and fault tests that take minutes
	$(PY) -m pytest -m slow

check: $(VENV)/.dev
	$(VENV)/bin/ruff format --check -q .
	$(VENV)/bin/ruff check -q .
	$(VENV)/bin/mypy

bench: $(VENV)/.dev  ## measurements, kept in benchmarks/results
	$(PY) -m benchmarks

claims: $(VENV)/.dev  ## what the field says, tried on small data: docs/claims.md; hours, goes on where it was
	$(PY) -m benchmarks claims

docs: $(VENV)/.docs  ## the documentation site, without warnings: docs/_build/html/index.html
	$(PY) -m sphinx -q -W --keep-going -b html docs docs/_build/html

$(VENV)/.%: pyproject.toml constraints.txt
	test -x $(PY) || python3 -m venv $(VENV)
	$(PIP) -e '.[$*]'
	@touch $@

clean:
	rm -rf $(VENV) build dist docs/_build *.egg-info
