# `make demo` and `make test` do everything on a fresh machine, and elsewhere only what is still to do.

define HELP
make demo     set up, build, fetch its two models, serve the demo at http://localhost:$(PORT)/
make test     set up, build, fetch the test models, run all tests
make bench    set up, build, fetch its models, measure beside wllama, transformers.js and native llama.cpp (three quarters of an hour; ARGS="--help")
make bench-gpu  models of random weights on this machine's own GPU, beside llama.cpp's Vulkan path (ARGS="--shapes llama-3.2-1b")
make build    the complete npm package in pkg/, optimized (takes minutes)
make setup    install what this machine lacks: a compiler for wasm32, Chromium, npm packages
make models   fetch the default model and the test models
make clean    remove what was built; models stay
endef
export HELP

PORT ?= 8080

STEP = @scripts/step.sh
# npm's own note of what it installed: out of date when the lock file is newer.
INSTALLED = node_modules/.package-lock.json
PACKAGE = pkg/$(INSTALLED)
TEST_PACKAGES = $(patsubst %/package-lock.json,%/$(INSTALLED),$(wildcard tests/*/package-lock.json))

.NOTPARALLEL:
.PHONY: help demo test bench bench-gpu build setup models clean tools test-tools demo-models package

help:
	@echo "$$HELP"

demo: tools $(PACKAGE) demo-models package
	@node www/serve.mjs --port $(PORT)

test: setup models
	$(STEP) "format" cargo fmt --all --check
	$(STEP) "llama.cpp's tokens" npm --prefix tests/tokenizer run --silent expected
	$(STEP) "lints" cargo clippy --quiet --workspace --all-targets -- -D warnings
	$(STEP) "native tests" cargo test --quiet --workspace
	@$(MAKE) --no-print-directory package
	$(STEP) "package tests" npm --prefix pkg test
	$(STEP) "browser tests" npm --prefix tests/browser test

# The quickly built package: it is as fast as the optimized one, which is only smaller.
bench: tools test-tools $(PACKAGE) tests/browser/$(INSTALLED) bench/$(INSTALLED) package
	$(STEP) "kernels alone" cargo xtask bench --variant relaxed
	$(STEP) "kernels alone, plain SIMD" cargo xtask bench --variant simd
	$(STEP) "models" python3 scripts/models.py smollm2 gemma3 minilm minilm-f16
	@npm --prefix bench run --silent bench -- $(ARGS)

bench-gpu: tools bench/$(INSTALLED)
	@cargo run --quiet --release -p bench-gpu -- $(ARGS)

build: tools $(PACKAGE)
	$(STEP) "optimized wasm" cargo xtask wasm --release
	$(STEP) "npm package" npm --prefix pkg run --silent build -- --sizes

# The package with quickly built wasm: as fast to run, but larger to download.
package:
	$(STEP) "wasm" cargo xtask wasm
	$(STEP) "npm package" npm --prefix pkg run --silent build

setup: tools test-tools $(PACKAGE) $(TEST_PACKAGES)

tools:
	$(STEP) "tools" scripts/setup.sh tools

test-tools:
	$(STEP) "tools of the tests" scripts/setup.sh tests

# llama.cpp has a package per system and GPU: all but the one named are optional, large, and not on every registry,
# while `ci` wants each of them in the lock file.
NPM_INSTALL = ci
tests/tokenizer/$(INSTALLED) bench/$(INSTALLED): NPM_INSTALL = install --no-save --omit=optional

%/$(INSTALLED): %/package-lock.json
	$(STEP) "npm packages of $*" npm --prefix $* $(NPM_INSTALL) --ignore-scripts
	@touch $@

models:
	$(STEP) "models" python3 scripts/models.py

demo-models:
	$(STEP) "models of the demo" python3 scripts/models.py smollm2 minilm

clean:
	rm -rf target pkg/dist pkg/node_modules tests/*/node_modules bench/node_modules
