# The front door: `make` lists what it can do. Every target first brings .venv in step with requirements.lock.
SHELL := /bin/sh
.DEFAULT_GOAL := help

ifeq ($(OS),Windows_NT)
PYTHON_VENV := .venv/Scripts/python.exe
else
PYTHON_VENV := .venv/bin/python
endif

# One thread each: the threads of several processes that share the cores wait for one another.
PYTEST = OMP_NUM_THREADS=1 $(PYTHON_VENV) -m pytest --numprocesses logical --maxprocesses 4 --dist loadgroup

CONFIG = ludwig_configs/voix-passive/petit-llama-qlora.yaml
DATASET =
SET =
RESUME =
RUN = last
RESULTS =
UPGRADE =
# Recipes read these from the environment, so that spaces and quotes in a value reach the script as typed.
export CONFIG DATASET SET RESUME RUN RESULTS UPGRADE

.PHONY: help venv setup env data-quickstart model-quickstart check train list show reproduce benchmark test test-fast lint lock clean

help:
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { printf "%s%s\n", gap, substr($$0, 5); gap = "\n" } \
	/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' Makefile

venv:
	@sh tools/setup.sh

##@ Set up
setup: venv ## Make .venv from requirements.lock (PYTHON=/path/to/python3.12 to choose; silent when up to date)
	@printf '%s\n' '.venv is up to date.' '' 'Next: make train'

env: venv ## Show what a bug report needs: versions, devices, memory, which tokens are set (masked)
	@$(PYTHON_VENV) tools/show_env.py

##@ Train
check: venv ## Show what a configuration would train, in seconds: CONFIG=file.yaml [DATASET=file] [SET="trainer.epochs=1"]
	@$(PYTHON_VENV) tools/check.py --config "$$CONFIG" $${DATASET:+--dataset "$$DATASET"} $${SET:+--set "$$SET"}

train: venv ## Train one configuration: CONFIG=file.yaml [DATASET=file] [SET="trainer.epochs=1 adapter.r=32"] [RESUME=run or last] [RESULTS=folder]
	@if [ -n "$$RESUME" ]; then set -- --resume "$$RESUME"; else set -- --config "$$CONFIG"; fi; \
	$(PYTHON_VENV) tools/train.py "$$@" $${DATASET:+--dataset "$$DATASET"} $${SET:+--set "$$SET"} \
		$${RESULTS:+--results "$$RESULTS"}

##@ Look at runs
list: venv ## List the runs, newest first
	@$(PYTHON_VENV) tools/list_runs.py $${RESULTS:+--results "$$RESULTS"}

show: venv ## Show one run on one screen: RUN=run (default: the newest)
	@$(PYTHON_VENV) tools/show_run.py --run "$$RUN" $${RESULTS:+--results "$$RESULTS"}

reproduce: venv ## Repeat a run from its folder and compare every loss: RUN=run (default: the newest)
	@$(PYTHON_VENV) tools/reproduce.py --run "$$RUN" $${RESULTS:+--results "$$RESULTS"}

##@ Make the quick start's data and model again (both are in the repository)
data-quickstart: venv ## Make datasets/voix-passive
	@$(PYTHON_VENV) tools/make_voix_passive.py

model-quickstart: venv ## Pretrain models/petit-llama
	@$(PYTHON_VENV) tools/pretrain_petit_llama.py

##@ Check the project
test: venv ## Run every test, those that train or install included
	@$(PYTEST)

test-fast: venv ## Run the tests that take seconds
	@$(PYTEST) -m "not slow"

lint: venv ## Check style, format and types (ruff, mypy)
	@$(PYTHON_VENV) -m ruff check
	@$(PYTHON_VENV) -m ruff format --check
	@$(PYTHON_VENV) -m mypy

benchmark: venv ## Measure a training step against stock Ludwig: time and memory, as ratios
	@$(PYTHON_VENV) benchmarks/train_step.py

##@ Maintain
lock: venv ## Write requirements.lock again from pyproject.toml (UPGRADE=1: with the newest versions allowed there)
	@$(PYTHON_VENV) -m uv pip compile --quiet --universal --python-version 3.12 --group dev --generate-hashes \
		--no-emit-index-url --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) \
		--output-file requirements.lock pyproject.toml

clean: ## Delete caches; results, data and models stay
	@rm -rf .pytest_cache .ruff_cache .mypy_cache
	@find src tools evaluate tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
