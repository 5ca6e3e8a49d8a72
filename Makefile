# What a person types; cargo does the rest. `make` alone lists the targets.

CUDA ?= 0
WEIGHTS ?= lite0 lite1 lite2
DATA ?=
B5 ?=

# These are about a GPU.
ifneq (,$(filter bench-gpu train-gpu,$(MAKECMDGOALS)))
override CUDA := 1
endif

cache := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/csflowd
LIBTORCH ?= $(cache)/libtorch-2.11.0-$(if $(filter 1,$(CUDA)),cuda,cpu)/torch
PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH):/usr/sbin:/sbin
export CUDA WEIGHTS DATA B5 LIBTORCH PATH

heading = @printf '\n== %s\n'

.PHONY: help setup build demo test fmt bench bench-gpu train-gpu clean
.NOTPARALLEL:

help: ## show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

setup: ## install what is missing: packages, Rust, libtorch, weights (CUDA=1 for a GPU)
	@scripts/setup.sh

build: setup ## build target/release/csflowd
	cargo build --release

demo: build ## train on drawn parts, run the daemon, show its verdicts (DATA=dir for your own pictures)
	@python3 scripts/demo.py

test: setup ## everything that must hold before a change goes in
	$(heading) "format"
	cargo fmt --check
	$(heading) "clippy"
	cargo clippy --all-targets -- -D warnings
	$(heading) "tests"
	OMP_NUM_THREADS=1 cargo test
	$(heading) "documentation"
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps
	$(heading) "weight conversion"
	python3 scripts/test_weights.py
	$(heading) "systemd unit"
	scripts/check-unit.sh

fmt: ## format the code
	cargo fmt

bench: setup ## run the benchmarks
	cargo bench

bench-gpu: build ## compare an NVIDIA GPU with the CPU, and measure it (DATA=dir B5=file)
	@python3 scripts/bench_gpu.py

train-gpu: build ## train balanced and paper on an NVIDIA GPU, with reports (DATA=dir B5=file)
	@scripts/train-gpu.sh

clean: ## remove what was built; what set-up installed stays
	cargo clean
