# Everything lands in this folder (.tools, .venv, .recsim) and in the caches of uv and Ivy; `make clean` removes the folder's part.
# What the machine lacks is installed with apt-get as root, or by a sudo that asks for no password.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
ifeq ($(filter oneshell,$(.FEATURES)),)
$(error recsim needs GNU make 4 or later; this is $(MAKE_VERSION))
endif
.ONESHELL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# What the caller has activated or configured for another project must not change what is installed, or where.
unexport VIRTUAL_ENV CONDA_PREFIX PYTHONHOME PYTHONPATH UV_PROJECT UV_PROJECT_ENVIRONMENT UV_PYTHON UV_NO_DEV UV_NO_DEFAULT_GROUPS UV_FROZEN

# Horovod's build would use one core.
export CMAKE_BUILD_PARALLEL_LEVEL ?= 4

# Any Python 3: it brings the 3.11 that the project runs on.
PYTHON3 := $(firstword $(shell command -v python3 python3.11))
BIN := .venv/bin
# Programs that only some targets need.
PROGRAMS := $(if $(filter test drill,$(MAKECMDGOALS)),chromium wrk,$(if $(filter bench-serving,$(MAKECMDGOALS)),wrk)$(if $(filter pictures,$(MAKECMDGOALS)),chromium))
# The digest of the lock that .venv was made from; inside .venv, so that both are removed together.
STAMP := .venv/.made-from

.PHONY: help setup demo test drill check docs up pictures bench-catalogue bench-distinct bench-drift bench-learning bench-serving bench-vectors clean prerequisites environment browser

help: ## print this list
	@echo "make TARGET, where TARGET is one of:"
	@sed -En 's/^([a-z-]+):.*## (.*)/  \1\t\2/p' Makefile | expand -t 12

setup: environment ## install everything from the lock and fetch the demo's data
	@$(BIN)/python -m recsim_demo.prefetch

demo: setup ## take 60,000 products, then 1,600 changes, through a real Airflow
	@exec $(BIN)/python -m recsim_demo.demo

test: setup browser ## run all tests but the drills, quick ones first; ARGS=tests/vectors, ARGS="-m unit", ARGS="-n 0 --pdb"
	@exec $(BIN)/pytest -n 3 --durations 25 $(ARGS)

drill: setup browser ## test that nothing is lost when processes are killed or frozen and disks are full; run each benchmark small; ARGS="--kills 30" for more
	@exec $(BIN)/pytest -n 2 --durations 25 -m "drill or bench" $(ARGS)

check: environment ## check format, lint, types and import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=plugins $(BIN)/lint-imports

docs: environment ## write the tables of the docs that are generated from code
	$(BIN)/python docs/generate.py

up: setup ## start everything and keep it running until Ctrl-C
	@exec $(BIN)/python -m recsim_local.up

pictures: setup browser ## take the screenshots of the docs again, about 10 minutes
	@exec $(BIN)/python -m recsim_demo.screenshots

bench-catalogue: setup ## measure what a feed costs, about 20 minutes; ARGS="--rows 1000 --large 14000 --rounds 1", ARGS=--plot
	@exec $(BIN)/python -m benchmarks.catalogue $(ARGS)

bench-distinct: setup ## measure which copies of an image are found, about 6 minutes; ARGS="--images 1000 --train 0", ARGS="--folder IMAGES"
	@exec $(BIN)/python -m benchmarks.distinct $(ARGS)

bench-drift: setup ## measure which deliveries of new images cause a retrain, about 15 minutes
	@exec $(BIN)/python -m benchmarks.drift $(ARGS)

bench-learning: setup ## measure what learning costs and is worth, about 80 minutes; ARGS="--minutes 4 --rows 100000", ARGS=--plot
	@exec $(BIN)/python -m benchmarks.learning $(ARGS)

bench-serving: setup ## measure what an answer and a swap cost, about 10 minutes; ARGS="--rounds 1 --seconds 1", ARGS=--plot
	@exec $(BIN)/python -m benchmarks.serving $(ARGS)

bench-vectors: setup ## measure what embedding and indexing cost, about 40 minutes; ARGS="--rows 100000 --small 20000", ARGS=--plot
	@exec $(BIN)/python -m benchmarks.vectors $(ARGS)

clean: ## remove the environment, the data and all caches of this folder
	rm -rf .recsim .venv .tools .ruff_cache .mypy_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

prerequisites:
	@test -n "$(PYTHON3)" || { echo "Python 3 is missing. Run: sudo apt-get install python3" >&2; exit 2; }
	$(PYTHON3) -I .ci/prepare.py $(PROGRAMS)

browser: environment
	@$(BIN)/python -I .ci/browser.py

environment: prerequisites
	@if ! sha256sum --check --status $(STAMP) 2>/dev/null; then
		uv=$$($(PYTHON3) -I .ci/private_uv.py)
		python=$$($(PYTHON3) -I .ci/prepare.py --python)
		echo "Installing what uv.lock lists. The first time, Horovod is compiled from source, which takes minutes."
		"$$uv" sync --locked --python "$$python" || {
			echo "The environment is not complete: uv's message is above. Check network, proxy and disk; then run make again." >&2
			exit 2
		}
		sha256sum uv.lock pyproject.toml > $(STAMP)
	fi
