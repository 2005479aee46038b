# The front door: `make` lists what it can do. Every target first brings .venv in step with requirements.lock.
SHELL := /bin/sh
.DEFAULT_GOAL := help

ifeq ($(OS),Windows_NT)
PYTHON_VENV := .venv/Scripts/python.exe
else
PYTHON_VENV := .venv/bin/python
endif
# One thread each: the threads of several processes that share the cores wait for one another. A file is one process's, whose
# fixtures of a module are then made once (xdist_group has no effect under pytest 9).
PYTEST = OMP_NUM_THREADS=1 $(PYTHON_VENV) -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# What can be given on the command line; what merely stands in the environment under such a name is not meant.
VARIABLES = DATASET SET RESUME RESULTS UPGRADE SOURCE FORMAT TASK COLUMNS SPLIT BY STRATIFY N SEED NEAR ON_LEAK PII \
	LANGUAGES BALANCE TOKENIZER UNANSWERABLE REPLACE LICENCE SAMPLE MODEL HOST PULL CONCURRENCY RETRY_FAILED SUITE FEWSHOT ADAPTER BOOK \
	RUNS NAME K SWEEP A B JUDGE MODE LIMIT HUMAN SHEET PAGE MEMORY LENGTH MEASURE BATCHES BITS STEPS REPO BASE PUBLIC REVISION \
	LICENCE_NAME LICENCE_LINK PR PLAN TAG KIND QUANT DTYPE SYSTEM ASK SIDE INPUT PORT \
	PRE_TOKENIZER ARCHITECTURE FORM GPUS URL
$(foreach name,$(VARIABLES),$(eval $(name) =))
CONFIG = ludwig_configs/voix-passive/petit-llama-qlora.yaml
RUN = last
# Recipes read these from the environment, so that spaces and quotes in a value reach the script as typed.
export CONFIG RUN $(VARIABLES)
# $(call options,DATASET:dataset SET:set) passes on those that were given: --dataset "$DATASET" --set "$SET".
first = $(word 1,$(subst :, ,$(1)))
options = $(foreach pair,$(1),$${$(call first,$(pair)):+--$(word 2,$(subst :, ,$(pair))) "$$$(call first,$(pair))"})

.PHONY: help venv setup env data curate curate-demo check-data card check train list show reproduce evaluate score compare \
	judge judge-demo preferences annotate calibrate leaderboard kfold sweep rouge fit bench chat serve app upload-plan upload upload-data merge \
	recipe tiny-model gguf llama-cpp ray ollama data-quickstart model-quickstart test test-fast lint benchmark benchmark-gpu lock clean

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

##@ Prepare data
data: venv ## Turn a file, a folder or a hub dataset into datasets/TASK: SOURCE=path TASK=name [FORMAT=auto] [SPLIT=0.8/0.1/0.1] ...
	@$(PYTHON_VENV) tools/prepare_data.py $(call options,SOURCE:source TASK:task FORMAT:format COLUMNS:columns \
		SPLIT:split BY:by STRATIFY:stratify N:sample SEED:seed NEAR:near ON_LEAK:on-leak PII:pii LANGUAGES:languages \
		BALANCE:balance TOKENIZER:tokenizer UNANSWERABLE:unanswerable) $${REPLACE:+--replace}

curate: venv ## Let a language model segment, label and augment: TASK=name, as its curate.yaml says [SAMPLE=20] [MODEL=name]
	@$(PYTHON_VENV) tools/curate.py $(call options,TASK:task SAMPLE:sample MODEL:model HOST:host \
		CONCURRENCY:concurrency RESULTS:results) $${RETRY_FAILED:+--retry-failed} $${PULL:+--pull} $${REPLACE:+--replace}

curate-demo: venv ## Show what curating looks like without a model (rules stand in, all is marked DEMO): archives-demo
	@$(PYTHON_VENV) tools/curate_demo.py

check-data: venv ## Look for leaks, duplicates, personal data and cut rows, and draw a page: TASK=name [DATASET=file] [CONFIG=file]
	@$(PYTHON_VENV) tools/check_data.py --task "$${TASK:-voix-passive}" \
		$(call options,DATASET:dataset NEAR:near RESULTS:results) $(if $(filter file,$(origin CONFIG)),,--config "$$CONFIG")

card: venv ## Write the dataset's card: TASK=name [LICENCE=cc-by-4.0]
	@$(PYTHON_VENV) tools/make_card.py $(call options,TASK:task DATASET:dataset LICENCE:licence NAME:name) $${REPLACE:+--replace}

##@ Train
check: venv ## Show what a configuration would train, in seconds: CONFIG=file.yaml [DATASET=file] [SET="trainer.epochs=1"]
	@$(PYTHON_VENV) tools/check.py --config "$$CONFIG" $(call options,DATASET:dataset SET:set)

fit: venv ## Say what fits in memory, and how long it takes: CONFIG=file.yaml [MEMORY=16GB] [LENGTH=512] [MEASURE=1]
	@$(PYTHON_VENV) tools/fit.py --config "$$CONFIG" $(call options,DATASET:dataset SET:set MEMORY:memory LENGTH:length) \
		$${MEASURE:+--measure}

bench: venv ## Measure memory and time per step on this machine: CONFIG=file.yaml [BATCHES=1,2,4,16] [BITS=4,8,16] [LENGTH=512]
	@$(PYTHON_VENV) tools/bench.py --config "$$CONFIG" \
		$(call options,SET:set BATCHES:batches BITS:bits STEPS:steps LENGTH:length RESULTS:results)

train: venv ## Train one configuration: CONFIG=file.yaml [DATASET=file] [SET="trainer.epochs=1 adapter.r=32"] [GPUS=n] [RESUME=run or last]
	@if [ -n "$$RESUME" ]; then set -- --resume "$$RESUME"; else set -- --config "$$CONFIG"; fi; \
	$(PYTHON_VENV) tools/train.py "$$@" $(call options,DATASET:dataset SET:set GPUS:gpus RESULTS:results)

##@ Look at runs
list: venv ## List the runs, newest first
	@$(PYTHON_VENV) tools/list_runs.py $(call options,RESULTS:results)

show: venv ## Show one run on one screen: RUN=run (default: the newest)
	@$(PYTHON_VENV) tools/show_run.py --run "$$RUN" $(call options,RESULTS:results)

reproduce: venv ## Repeat a run from its folder and compare every loss: RUN=run (default: the newest)
	@$(PYTHON_VENV) tools/reproduce.py --run "$$RUN" $(call options,RESULTS:results)

##@ Measure
evaluate: venv ## Answer every test row with base and tuned model, and score both: RUN=run [FEWSHOT=3] [SUITE=name] [BOOK=file.json] [GPUS=n]
	@$(PYTHON_VENV) evaluate/generate.py $(if $(ADAPTER),--adapter "$$ADAPTER" --config "$$CONFIG",--run "$$RUN") \
		$(call options,DATASET:dataset SUITE:suite SPLIT:split FEWSHOT:fewshot BOOK:book GPUS:gpus RESULTS:results)
	@$(if $(ADAPTER),,$(PYTHON_VENV) evaluate/score.py --run "$$RUN" $(call options,SUITE:suite RESULTS:results))

score: venv ## Score answers that are there already: RUN=run [SUITE=name]
	@$(PYTHON_VENV) evaluate/score.py --run "$$RUN" $(call options,SUITE:suite RESULTS:results)

compare: venv ## Put runs side by side in one page: RUNS="run run", or a task for all its runs
	@$(PYTHON_VENV) evaluate/compare.py $${RUNS:-last} $(call options,SUITE:suite NAME:name RESULTS:results)

judge: venv ## Let a local model score the answers: RUN=run [JUDGE=llama3.1:8b] [MODE=score, rubric or pairwise] [LIMIT=50] [PULL=1]
	@$(PYTHON_VENV) evaluate/judge.py --run "$$RUN" $(call options,JUDGE:judge MODE:mode SUITE:suite HOST:host \
		CONCURRENCY:concurrency LIMIT:limit RESULTS:results) $${RETRY_FAILED:+--retry-failed} $${PULL:+--pull}

judge-demo: venv ## Show what judging looks like without a model (simple rules stand in, all is marked DEMO): RUN=run
	@$(PYTHON_VENV) evaluate/judge_demo.py --run "$$RUN" $(call options,MODE:mode SUITE:suite LIMIT:limit RESULTS:results)

preferences: venv ## Make a dataset of preferences from pairwise verdicts: RUN=run TASK=name [FORM=kto] [JUDGE=name] [SPLIT=0.8/0.1/0.1]
	@$(PYTHON_VENV) tools/make_preferences.py --run "$$RUN" $(call options,TASK:task FORM:form MODE:mode JUDGE:judge \
		SUITE:suite SPLIT:split SEED:seed RESULTS:results) $${REPLACE:+--replace}

annotate: venv ## Write a sheet on which people score answers without knowing whose they are: RUN=run [N=40] [PAGE=1]
	@$(PYTHON_VENV) evaluate/annotate.py --run "$$RUN" $(call options,SUITE:suite N:n SEED:seed SHEET:output RESULTS:results) \
		$${PAGE:+--page}

calibrate: venv ## Compare the judge with people: RUN=run HUMAN="sheet.csv second.csv" [JUDGE=name]
	@$(PYTHON_VENV) evaluate/calibrate.py --run "$$RUN" --human $$HUMAN $(call options,JUDGE:judge SUITE:suite RESULTS:results)

leaderboard: venv ## Write what the configs gave, from the runs there are, into ludwig_configs/README.md
	@$(PYTHON_VENV) evaluate/leaderboard.py $(call options,RESULTS:results)

kfold: venv ## Answer every row by a model that was not trained on it: CONFIG=file.yaml [K=10] [RESUME=last]
	@if [ -n "$$RESUME" ]; then set -- --resume "$$RESUME"; else set -- --config "$$CONFIG"; fi; \
	$(PYTHON_VENV) evaluate/kfold.py "$$@" $(call options,K:k DATASET:dataset SET:set SUITE:suite RESULTS:results)

sweep: venv ## Train a configuration with many settings: CONFIG=file.yaml [SWEEP=file.yaml] [RESUME=last]
	@if [ -n "$$RESUME" ]; then set -- --resume "$$RESUME"; else set -- --config "$$CONFIG"; fi; \
	$(PYTHON_VENV) evaluate/sweep.py "$$@" $(call options,SWEEP:sweep DATASET:dataset SET:set RESULTS:results)

rouge: venv ## Compare two texts by ROUGE, with and without a tokenizer that knows accents: A="..." B="..."
	@$(PYTHON_VENV) evaluate/rouge.py $(call options,A:a B:b)

##@ Use and publish
chat: venv ## Talk to the model in the terminal, base or tuned: RUN=run [ASK="one question"] [SIDE=both]
	@$(PYTHON_VENV) tools/chat.py $(if $(ADAPTER),--adapter "$$ADAPTER" --config "$$CONFIG",--run "$$RUN") \
		$(call options,SIDE:side SYSTEM:system INPUT:input SET:set ASK:ask DATASET:dataset RESULTS:results)

serve: venv ## Answer at an address that OpenAI's clients understand: RUN=run [PORT=8000]
	@$(PYTHON_VENV) tools/serve.py $(if $(ADAPTER),--adapter "$$ADAPTER" --config "$$CONFIG",--run "$$RUN") \
		$(call options,HOST:host PORT:port DATASET:dataset RESULTS:results)

app: venv ## Open the application in a browser, for people without a terminal: RUN=run [PORT=8501] or MODEL=llama3.1:8b [URL=address]
	@$(PYTHON_VENV) tools/app.py $(if $(ADAPTER),--adapter "$$ADAPTER" --config "$$CONFIG",$(if $(MODEL),--model "$$MODEL",--run "$$RUN")) \
		$(call options,URL:url HOST:host PORT:port DATASET:dataset RESULTS:results)

UPLOAD = $(call options,REPO:repo BASE:base LICENCE:licence LICENCE_NAME:licence-name LICENCE_LINK:licence-link \
	LANGUAGES:language KIND:kind REVISION:revision TAG:tag RESULTS:results) \
	$${PUBLIC:+--public} $${PR:+--create-pr}
upload-plan: venv ## Show what an upload would send, and refuse what must not leave: RUN=run REPO=user/name [BASE=id] [LICENCE=mit]
	@$(PYTHON_VENV) tools/upload.py --run "$$RUN" $(UPLOAD) --plan

upload: venv ## Publish a run on the Hugging Face Hub, privately unless PUBLIC=1: RUN=run REPO=user/name [KIND=adapter]
	@$(PYTHON_VENV) tools/upload.py --run "$$RUN" $(UPLOAD)

upload-data: venv ## Publish a dataset with its card: TASK=name REPO=user/name [PLAN=1: only show]
	@$(PYTHON_VENV) tools/upload_data.py $(call options,TASK:task REPO:repo REVISION:revision TAG:tag RESULTS:results) \
		$${PUBLIC:+--public} $${PR:+--create-pr} $${PLAN:+--plan}

merge: venv ## Put the adapter into the unquantized base model: RUN=run [DTYPE=bfloat16]
	@$(PYTHON_VENV) tools/merge.py --run "$$RUN" $(call options,DTYPE:dtype RESULTS:results)

gguf: venv ## Write a GGUF file, checked against the model: RUN=run [QUANT=q8_0, q4_k_m or f16] [KIND=adapter]
	@$(PYTHON_VENV) tools/export_gguf.py --run "$$RUN" $(call options,QUANT:quant KIND:kind LICENCE:licence \
		PRE_TOKENIZER:pre-tokenizer RESULTS:results)

llama-cpp: venv ## Get and compile llama.cpp, once for this user (needs a C++ compiler and cmake; about ten minutes)
	@$(PYTHON_VENV) tools/get_llama_cpp.py

ollama: venv ## Make an Ollama model and compare its answers with the run's: RUN=run [NAME=name] [QUANT=q8_0]
	@$(PYTHON_VENV) tools/export_ollama.py --run "$$RUN" $(call options,NAME:name QUANT:quant SYSTEM:system \
		LICENCE:licence PRE_TOKENIZER:pre-tokenizer HOST:host RESULTS:results) $${REPLACE:+--replace}

##@ Follow a recipe
recipe: venv ## Rehearse a whole project at tiny scale, offline: NAME=archives, medquad, alpaca, quizz ... (docs/recipes)
	@$(PYTHON_VENV) tools/recipe.py $(call options,NAME:name RESULTS:results)

tiny-model: venv ## Make a tiny random base model for a rehearsal: ARCHITECTURE=gpt2 TASK=name [DATASET=file] [SEED=42]
	@$(PYTHON_VENV) tools/make_tiny_model.py $(call options,ARCHITECTURE:architecture TASK:task DATASET:dataset SEED:seed)

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

benchmark: venv ## Measure training steps, answers, judging and data preparation against their bars, as ratios
	@$(PYTHON_VENV) benchmarks/train_step.py
	@$(PYTHON_VENV) benchmarks/whole_training.py
	@$(PYTHON_VENV) benchmarks/peers.py
	@$(PYTHON_VENV) benchmarks/lengths.py
	@$(PYTHON_VENV) benchmarks/growth.py
	@$(PYTHON_VENV) benchmarks/judging.py
	@$(PYTHON_VENV) benchmarks/memory.py
	@$(PYTHON_VENV) benchmarks/answers.py
	@$(PYTHON_VENV) benchmarks/data.py
	@$(PYTHON_VENV) benchmarks/retrieval.py
	@$(PYTHON_VENV) benchmarks/workers.py
	@$(PYTHON_VENV) tools/benchmark_table.py

benchmark-gpu: venv ## Measure 7 and 8 B shapes against TRL and Liger on a CUDA GPU, in ten minutes, without a download
	@$(PYTHON_VENV) benchmarks/gpu.py
	@$(PYTHON_VENV) tools/benchmark_table.py

##@ Maintain
ray: venv ## Install Ray, for runs on several machines (backend: {type: ray})
	@$(PYTHON_VENV) -m uv pip install --quiet --compile-bytecode --python $(PYTHON_VENV) --require-hashes -r requirements-ray.lock

lock: venv ## Write requirements.lock and requirements-ray.lock again from pyproject.toml (UPGRADE=1: with the newest versions allowed there)
	@$(PYTHON_VENV) -m uv pip compile --quiet --universal --python-version 3.12 --group dev --generate-hashes \
		--no-emit-index-url --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) \
		--output-file requirements.lock pyproject.toml
	@$(PYTHON_VENV) -m uv pip compile --quiet --universal --python-version 3.12 --group ray --generate-hashes \
		--constraint requirements.lock --no-emit-index-url --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) \
		--output-file requirements-ray.lock

clean: ## Delete caches, those of tokenized rows and of passages too; results, data, models and the compiled llama.cpp stay
	@rm -rf .pytest_cache .ruff_cache .mypy_cache "$${XDG_CACHE_HOME:-$$HOME/.cache}/affinage/tokenized" \
		"$${XDG_CACHE_HOME:-$$HOME/.cache}/affinage/passages"
	@find src tools evaluate tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
