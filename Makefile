# From an empty folder to a registered model: `make sweep`. The tests: `make test`. All targets: `make help`.
#
# Needs Python 3.11, make and a package registry that pip knows; nothing else.

VENV ?= .venv
LATENTACT_HOME ?= $(HOME)/.latentact-zoo
export LATENTACT_HOME

# What `make sweep` submits: another data set, other settings or a longer budget are given here,
# for example  make sweep SWEEP='sweeps/codebook_size.py --split objects --trials 20 --name mine'
SWEEP ?= sweeps/codebook_size.py --data $(LATENTACT_HOME)/data/world --split objects,actions \
	--codes 128:1024 --depth 1:4 --trials 4 --epochs 8

PY := $(VENV)/bin/python
TORCH := torch==2.13.0 torchvision==0.28.0
LOG := $(VENV)/make.log
# Named after the content of the two files that decide what is installed.
STAMP := $(VENV)/.installed-$(shell cat requirements.lock pyproject.toml 2>/dev/null | cksum | cut -d' ' -f1)
ROOMS := zoo sweeps trainables cluster tests

# $(call phase,words,command): one line saying what is done and how long it took; its output only if it fails.
phase = @printf '  %-46s' "$(1)"; start=$$(date +%s); \
	if ( $(2) ) > $(LOG) 2>&1; then echo "$$(( $$(date +%s) - start )) s"; \
	else echo failed; tail -n 30 $(LOG); exit 1; fi

IS_311 := import sys; sys.exit(sys.version_info[:2] != (3, 11))

# One thing after another, whatever -j says.
.NOTPARALLEL:
.PHONY: help install up status stop data sweep test fleet-test lint lock viewer pictures wheel clean

help:
	@echo 'make sweep    install, start the stack, prepare data, sweep, publish the best model'
	@echo 'make test     lint, types and all tests'
	@echo 'make up       start the one-machine stack; make status shows it, make stop ends it (its state stays)'
	@echo 'make lint     ruff and mypy only;  make wheel  builds dist/*.whl;  make lock  renews requirements.lock'
	@echo 'make fleet-test  rehearse a fleet of machines of your own (root on Linux, sshd, rsync)'
	@echo 'make viewer   rebuild the script of the viewer (Node and npm); make pictures  those of README and docs'
	@echo 'make clean    remove what make has built here; the state in $(LATENTACT_HOME) stays'

install: $(STAMP)

$(PY):
	@found=; for candidate in $(or $(PYTHON),python3.11 python3 python); do \
		if $$candidate -c '$(IS_311)' > /dev/null 2>&1; then found=$$candidate; break; fi; done; \
	if [ -z "$$found" ]; then \
		echo 'latentact-zoo runs on Python 3.11 only and found no such one ($(or $(PYTHON),python3.11, python3 or python)):' \
			'install Python 3.11, or name one with PYTHON=/path/to/python3.11' >&2; exit 1; fi; \
	$$found -m venv $(VENV)

# torch and torchvision first and by themselves: their wheels differ from machine to machine (CPU, CUDA), so that
# they have no hash.
$(STAMP): $(PY)
	@$(PY) -c '$(IS_311)' || { echo "$(VENV) is not a Python 3.11: make clean, then again" >&2; exit 1; }
	@grep -o '^[A-Za-z0-9._-]*==[^\]*' requirements.lock > $(VENV)/constraints.txt
	$(call phase,installing torch,$(PY) -m pip install --no-compile -c $(VENV)/constraints.txt $(TORCH))
	$(call phase,installing the locked dependencies,$(PY) -m pip install --no-compile --no-deps \
		--only-binary :all: --require-hashes -r requirements.lock)
	$(call phase,installing latentact-zoo,$(PY) -m pip install --no-deps --no-build-isolation -e .)
	$(call phase,checking that all of it fits together,$(PY) -m pip check)
	$(call phase,compiling to bytecode,$(PY) -m compileall -q -j 0 -x '/(tests?|rllib)/' $(VENV)/lib || true)
	@rm -f $(VENV)/.installed-*
	@touch $@

up: install
	@echo 'starting the stack ($(LATENTACT_HOME))'
	@$(PY) -m cluster.local up

# These two work on what is installed: a stack that an earlier checkout started is shown and stopped as it is.
status:
	@test -x $(PY) || { echo 'nothing is installed here yet: make up'; exit 1; }
	@$(PY) -m cluster.local status

stop:
	@test -x $(PY) || { echo 'nothing is installed here, so nothing was started from here'; exit 0; }; \
	$(PY) -m cluster.local down

data: install
	@$(PY) -m trainables.prepare world $(LATENTACT_HOME)/data/world --clips 400

sweep: up data
	@echo 'ray job submit --working-dir "$$(python -m cluster.job_package)" -- python $(SWEEP)'
	@set -a; . $(LATENTACT_HOME)/stack.env; set +a; \
	job=$$($(PY) -m cluster.job_package) && \
	$(VENV)/bin/ray job submit --log-color=false --working-dir "$$job" -- python $(SWEEP)

lint: install
	$(VENV)/bin/ruff check --quiet $(ROOMS)
	$(VENV)/bin/ruff format --check --quiet $(ROOMS)
	$(VENV)/bin/mypy

test: lint
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -n 2 --dist loadfile -m 'not slow'
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -m slow

# Machines of one's own, as network namespaces: ray up over ssh, sweeps, ray down. Part of `make test` too.
fleet-test: install
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -m fleet tests/test_fleet.py

wheel: install
	$(PY) -m build --wheel --no-isolation

# All extras, for the platforms of [tool.uv] in pyproject.toml. torch and torchvision are left out (see above); what
# they need themselves is pinned. No package here is for one platform alone, so that the markers say nothing.
lock: $(PY)
	$(PY) -m pip install --quiet uv==0.13.9
	@printf "%s ; python_version < '3'\n" torch torchvision > $(VENV)/without-torch.txt
	@printf '%s\n' filelock fsspec jinja2 networkx sympy typing-extensions > $(VENV)/torch-needs.txt
	$(PY) -m uv pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes \
		--no-header --no-annotate --override $(VENV)/without-torch.txt \
		--output-file $(VENV)/requirements.lock pyproject.toml $(VENV)/torch-needs.txt
	sed 's/ ; .*\\$$/ \\/' $(VENV)/requirements.lock > requirements.lock

# The viewer's script from its sources and three.js; committed, so that only who changes them needs Node and npm.
viewer:
	@mkdir -p build/viewer
	cp zoo/viewer_assets/package.json zoo/viewer_assets/package-lock.json build/viewer/
	npm ci --prefix build/viewer --ignore-scripts --no-audit --no-fund
	NODE_PATH=$(CURDIR)/build/viewer/node_modules node zoo/viewer_assets/build.mjs zoo/viewer_assets/viewer.min.js

# From what `make sweep` has left; Chromium takes them.
pictures: up data
	$(PY) -m tests.pictures docs/pictures

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
