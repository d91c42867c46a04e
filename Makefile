# make serve    an example application on 127.0.0.1:8000
# make test     linters, types and tests, on libev and on libuv; warnings are errors; some 30 minutes on two cores
# make test-all the tests with every CPython from 3.10 to 3.15 that is found here, and a table
# make pythons  CPython 3.13, 3.14 and 3.15 from Debian, in directories that make test-all finds; needs root, debootstrap
# make soak     honest and hostile clients against real servers; MINUTES=10
# make reload-soak   whether a request is lost while workers come and go; RELOADS=100 UPGRADES=20
# make saboteur    a supervisor whose processes are killed, stopped and reloaded at random; MINUTES=3 SEED=
# make early-answers   whether clients read an answer that comes before the end of their upload; MB=300 TIMES=100
# make testssl  all that testssl.sh asks a TLS server, with certificates of P-256 and of RSA; some 5 minutes
# make build    the virtual environment with what serving needs, and the compiled modules
# make docs     the guide as HTML, in build/docs; a warning is an error
# make lint     only the linters and types
# make coverage  which lines the tests run, of the compiled modules and of the Python ones; needs gcov
# make fuzz     the compiled parsers under clang's sanitizers, for MINUTES (5) in all; tests/fuzz/README.md
# make sim      the whole server in worlds where a seed decides everything, for MINUTES (5); tests/sim/README.md
# make sim-proof     known faults put back, and how many worlds find each
# make asan     the tests of the compiled parts under gcc's AddressSanitizer and UndefinedBehaviorSanitizer
# make clean    back to what is under version control
#
# Everything lives in .venv; a second run does only what has changed. Another interpreter: make PYTHON=python3.12
# Some packages that only tests use are not there for every Python: they are named, and their tests are skipped.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
HOT    := $(shell find greenhttp -name '*.pyx' -o -name '*.pxd')
STUBS  := $(subst /,.,$(basename $(shell find greenhttp -name '*.pyi')))

.PHONY: serve test test-all pythons build packages docs lint coverage fuzz asan sim sim-proof soak reload-soak saboteur early-answers testssl clean tools

serve: build
	$(BIN)/greenhttp --chdir examples --bind 127.0.0.1:8000 hello:app

# Also when the tests fail on libev, those on libuv run: one report says what is wrong on which.
test: lint
	@failed=; \
	echo "make: the tests on libev, the first of two loops"; \
	$(BIN)/pytest || failed="$$failed libev"; \
	echo "make: the tests once more, on libuv"; \
	GEVENT_LOOP=libuv-cffi $(BIN)/pytest || failed="$$failed libuv"; \
	if [ -n "$$failed" ]; then echo "make: tests failed on:$$failed" >&2; exit 1; fi

test-all:
	$(PYTHON) .ci/versions.py

pythons:
	.ci/pythons

soak: packages
	$(BIN)/python -m tests.soak $(or $(MINUTES),10)

reload-soak: packages
	$(BIN)/python -m tests.reload --reloads $(or $(RELOADS),100) --upgrades $(or $(UPGRADES),20)

saboteur: packages
	$(BIN)/python -m tests.reload.saboteur --minutes $(or $(MINUTES),3) $(if $(SEED),--seed $(SEED))

early-answers: packages
	EARLY_MB=$(or $(MB),300) EARLY_TIMES=$(or $(TIMES),100) $(BIN)/pytest tests/apps/test_early_answers.py

testssl: packages
	$(BIN)/python -m tests.tls.scanners
	$(BIN)/python -m tests.tls.scanners --key rsa

build: $(VENV)/built

packages: $(VENV)/packages

docs: packages
	$(BIN)/sphinx-build -q -W --keep-going -b html -d build/doctrees docs build/docs
	@echo "build/docs/index.html"

lint: packages
	$(BIN)/ruff check .
	PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint greenhttp tests/fuzz  # it looks for pycodestyle on the path
	$(BIN)/mypy
	$(BIN)/stubtest --mypy-config-file setup.cfg --allowlist tests/stubtest_allowlist.txt $(STUBS)

coverage: packages
	$(BIN)/python -m tests.cover --quiet

fuzz: packages
	$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),5)

sim: packages
	$(BIN)/python -m tests.sim --minutes $(or $(MINUTES),5) --jobs $(or $(JOBS),1) --shrink

sim-proof: packages
	$(BIN)/python -m tests.sim --proof

asan: packages
	$(BIN)/python -m tests.asan

clean:
	rm -rf $(VENV) .venv-3* build dist greenhttp.egg-info .pytest_cache .mypy_cache .ruff_cache .coverage
	find greenhttp tests examples perf -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
	find greenhttp \( -name '*.so' -o -name '*.c' -o -name '*.html' \) -delete

# One line for each thing that is missing and how to get it; then stop.
tools:
	@missing=0; say() { echo "make: $$1" >&2; missing=1; }; \
	if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then \
	  say "Python 3.10 or newer is needed, $(PYTHON) is not; install python3, or say make PYTHON=/path/to/python3"; \
	else \
	  $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	    || say "Python's venv is missing; on Debian and Ubuntu: apt-get install python3-venv"; \
	  $(PYTHON) -c 'import os, sys, sysconfig as s; sys.exit(not os.path.exists(s.get_paths()["include"] + "/Python.h"))' \
	    || say "Python.h is missing; on Debian and Ubuntu: apt-get install python3-dev; on Fedora: dnf install python3-devel"; \
	fi; \
	d=$$(mktemp -d); printf '#include <stdlib.h>\nint main(void) { return 0; }\n' > $$d/a.c; \
	$(CC) -o $$d/a $$d/a.c >/dev/null 2>&1 \
	  || say "no working C compiler; on Debian and Ubuntu: apt-get install gcc libc6-dev; on macOS: xcode-select --install"; \
	rm -rf $$d; exit $$missing

# The tools are looked for only when there is something to install.
$(VENV)/ready: pyproject.toml setup.cfg
	@$(MAKE) --no-print-directory tools
	@echo "make: a virtual environment in $(VENV), of $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@echo "make: installing what builds and serves: setuptools, Cython, greenlet, gevent, click"
	@$(BIN)/pip install --quiet --disable-pip-version-check 'setuptools>=77' 'Cython>=3.1,<4' 'greenlet>=3.1'
	@GREENHTTP_ONLY=none $(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --editable .
	@touch $@

$(VENV)/built: $(VENV)/ready setup.py $(HOT)
	@echo "make: compiling greenhttp; the first time this takes a minute or two"
	@$(BIN)/python setup.py --quiet build_ext --inplace
	@touch $@

# The packages of the tests, on top of those.
$(VENV)/packages: $(VENV)/built .ci/extras.py setup.cfg
	@$(BIN)/python .ci/extras.py test
	@touch $@
