# `make demo`, `make demo-skeleton`, `make demo-art`, `make check` (a minute, before a commit), `make test` (everything) and
# `make docs` (the site, in build/site). Each sets up what it needs, once.
PYTHON ?= python3
VENV ?= .venv
MAX_JOBS ?= 2
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo demo-skeleton demo-art check test docs clean

demo: $(VENV)/installed
	$(BIN)/python -m taggnn.train

demo-skeleton: $(VENV)/installed
	$(BIN)/python -m taggnn.train --config demo_skeleton

demo-art: $(VENV)/installed
	$(BIN)/python -m taggnn.train --config demo_art

# Types, and the tests of what is small and quick: without torch-scatter, processes, videos and programs.
QUICK := tests/graphs tests/nn tests/heads tests/evaluation tests/data/lists tests/test_floors.py tests/test_names.py

check: $(VENV)/checked
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	@$(BIN)/mypy & types=$$!; \
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist worksteal $(QUICK); tests=$$?; \
	wait $$types && exit $$tests

test: $(VENV)/tested
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist worksteal

# Every warning is an error. The theme ends in May 2027, which it would print at each build; its successor, Zensical, reads the same
# mkdocs.yml, and docs/site depends on neither.
docs: $(VENV)/documented
	$(BIN)/python docs/site/prepare.py build/docs
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=docs/site $(BIN)/python -m mkdocs build --strict --quiet
	@echo "build/site/index.html; with search: $(BIN)/python -m http.server --directory build/site"

$(VENV)/documented: $(VENV)/installed
	$(PIP) install --quiet --editable '.[docs]'
	touch $@

$(VENV)/installed: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing taggnn and what it needs into $(VENV): about 2 minutes and 6 GB, most of it PyTorch with CUDA."
	$(PIP) install --quiet --editable .
	touch $@

$(VENV)/checked: $(VENV)/installed
	$(PIP) install --quiet --editable '.[test,huggingface,export,timm,serve,explain]'
	touch $@

# torch-scatter has no wheels for current PyTorch and is compiled against the one installed above, once.
$(VENV)/tested: $(VENV)/checked
	@$(BIN)/python -c 'import torch_scatter' 2>/dev/null || { \
		echo "Compiling torch-scatter: about 7 minutes."; \
		$(PIP) install --quiet setuptools wheel && \
		MAX_JOBS=$(MAX_JOBS) $(PIP) install --quiet --no-build-isolation --no-cache-dir 'torch-scatter>=2.1.2'; }
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
