.DEFAULT_GOAL := help
.PHONY: help install quickstart new try launch bundle collect results verify test test-integration test-emulated test-all lint \
    bench bench-gpu ui serve dashboard lock plot

PYTHON ?= python3
PORT ?= 5000
STUDY ?= quickstart
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
INSTALLED := $(VENV)/.installed
TOOLS := $(VENV)/.tools

# They count where they are typed, as in NAME=mine; some systems have a variable NAME of their own.
$(foreach word,IMAGES LIKE NAME ROWS SEEDS SIZE ROW SET FILE JOBS,\
    $(if $(filter command,$(origin $(word))),,$(eval $(word) :=)))

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-17s %s\n", $$1, $$2}'

install: $(INSTALLED) ## Make .venv from requirements.lock, hashes checked

# uv installs four times faster than pip; where it cannot be had or cannot connect, pip does the same.
define locked
{ $(PIP) uv && $(BIN)/python -m uv pip install --compile-bytecode --python $(BIN)/python --require-hashes -r $(1); } || \
    $(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r $(1)
endef

$(INSTALLED): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || \
	    { echo "error: no $(PYTHON) here; name a Python from 3.11, as in: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "error: $(PYTHON) is older than 3.11; name another, as in: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Installing into $(VENV): 6 GB, of which 4 GB are CUDA libraries"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(call locked,requirements.lock)
	@$(PIP) --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m pipeline.running.bookkeeping
	@touch $@

# What tests and checks need beside it: half a gigabyte, most of it Node.js and the driver of a browser.
$(TOOLS): $(INSTALLED) requirements-dev.lock
	@$(call locked,requirements-dev.lock)
	@touch $@

quickstart: $(INSTALLED) ## Train and compare the six networks of the study quickstart
	@pipeline/python -m pipeline.launch --quiet report@quickstart
	@pipeline/python -m pipeline.report --show quickstart

new: $(INSTALLED) ## Compare them on your IMAGES=~/photos.zip, also LIKE= NAME= ROWS= SEEDS= SIZE=
	@pipeline/python -m pipeline.new "$(IMAGES)" $(if $(LIKE),--like "$(LIKE)") $(if $(NAME),--name "$(NAME)") \
	    $(if $(ROWS),--rows "$(ROWS)") $(if $(SEEDS),--seeds "$(SEEDS)") $(if $(SIZE),--size "$(SIZE)")

try: $(INSTALLED) ## Change values of a ROW, as in SET=optimizer.lr=0.01, and compare; params.yaml stays
	@pipeline/python -m pipeline.whatif "$(ROW)" "$(SET)"

launch: $(INSTALLED) ## Train all stale rows that STUDY needs side by side, then report
	@pipeline/python -m pipeline.launch --quiet report@$(STUDY) $(if $(JOBS),--jobs $(JOBS))
	@pipeline/python -m pipeline.report --show $(STUDY)

bundle: $(INSTALLED) ## Write what STUDY still has to train as STUDY.pyz, which any machine with torch runs
	@pipeline/python -m pipeline.bundle $(STUDY)

collect: $(INSTALLED) ## Take over the runs of FILE, which were trained elsewhere
	@pipeline/python -m pipeline.collect "$(or $(FILE),results.tar)"

results: $(INSTALLED) ## Write the finished runs of STUDY as STUDY.results.tar, for somebody else's make collect
	@pipeline/python -m pipeline.bundle $(STUDY) --results

verify: $(INSTALLED) ## Train STUDY, or its ROWS='a b' with SEEDS='0 1', again elsewhere and compare with what is committed
	@pipeline/python -m pipeline.verify $(STUDY) $(if $(ROWS),--rows "$(ROWS)") $(if $(SEEDS),--seeds "$(SEEDS)")

# A file's tests stay in one process and in their order; four processes are enough for these.
PYTEST := $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: $(TOOLS) ## Run the default test suite, on up to four cores
	$(PYTEST)

test-integration: $(TOOLS) ## Train, kill, tune and log whole small projects with DVC and MLflow, in some minutes
	$(PYTEST) -m integration

test-emulated: $(TOOLS) ## Compare the bytes of an emulated Intel and AMD with this machine's (needs qemu-user)
	$(BIN)/python -m pytest -m emulated tests/test_emulated.py

test-all: $(TOOLS) ## All three at once, which takes less time than one after the other
	$(PYTEST) -m ""

lint: $(TOOLS) ## Check style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

bench: $(TOOLS) .bench-keras/log ## Measure this machine's CPU and write reports/benchmarks/<machine>.md
	$(BIN)/python tests/benchmarks/bench.py

bench-gpu: $(TOOLS) ## Measure a GPU and write reports/benchmarks/<gpu>.md
	$(BIN)/python tests/benchmarks/bench_gpu.py

# Where Keras cannot be installed, the benchmark skips it and quotes the last line of this log.
.bench-keras/log:
	@mkdir -p .bench-keras
	@echo "Installing Keras and TensorFlow into .bench-keras: 1.6 GB, for this comparison only"
	@{ $(BIN)/python -m venv .bench-keras && $(BIN)/python -m uv pip install --python .bench-keras/bin/python keras tensorflow-cpu; } \
	    >$@ 2>&1 || rm -f .bench-keras/bin/python

ui: $(INSTALLED) ## Open the MLflow UI on http://127.0.0.1:5000
	@pipeline/python -m pipeline.ui --port "$(PORT)"

serve: PORT = 5001
serve: $(INSTALLED) ## Answer images with the best network of STUDY on http://127.0.0.1:5001, to try it
	@pipeline/python -m pipeline.serve "$(STUDY)" --port "$(PORT)"

dashboard: PORT = 8080
dashboard: $(INSTALLED) ## Open optuna-dashboard on the tunings, on http://127.0.0.1:8080
	@$(BIN)/python -c 'import optuna_dashboard' 2>/dev/null || \
	    { echo "error: optuna-dashboard is not installed; run: $(BIN)/python -m pip install '.[dashboard]'" >&2; exit 1; }
	$(BIN)/optuna-dashboard "$${OPTUNA_STORAGE:-.store/optuna/journal.log}" --port $(PORT)

LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --quiet
lock: ## Pin all dependencies anew (needs uv)
	$(LOCK) pyproject.toml --output-file requirements.lock
	$(LOCK) --group dev --constraint requirements.lock --output-file requirements-dev.lock

plot: ## Bundle the chart library of the HTML reports anew (needs npm)
	pipeline/reporting/assets/plot.sh
