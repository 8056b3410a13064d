# make demo   the whole story in a minute
# make test   every test
# make check  what CI asks besides: ruff, pyright, the site
# make docs   the site, in site/index.html

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check docs

demo: .venv/ready
	$(BIN)/longreach demo

test: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --durations 10

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(MAKE) docs

docs: .venv/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# PIP_CONSTRAINT, unlike --constraint, also holds for what builds the package. A change to the C++ builds it again.
.venv/ready: pyproject.toml constraints.txt CMakeLists.txt $(wildcard src/longreach/kernels/cpu/*)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "longreach needs Python 3.11 or newer; name one: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
