# What people type. Everything is built in one profile and against one compiled RocksDB, which takes minutes to build and is
# kept outside of Cargo's folders.

RELEASE := --release --locked
# Stops if the database cannot be compiled.
CARGO = set -e; library=$$(scripts/rocksdb.sh); ROCKSDB_LIB_DIR="$$library" ROCKSDB_STATIC=1 cargo

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install the system packages that the build needs, if any is missing
	@scripts/setup.sh

.PHONY: build
build: setup ## build the node
	@$(CARGO) build $(RELEASE) -p cairn-node --bin cairn

.PHONY: run
run: setup ## run 4 validators and an archive node on this machine; Ctrl-C stops them
	@$(CARGO) run $(RELEASE) -p cairn-node --bin cairn -- devnet --validators 4 --archive 1

.PHONY: test
test: build ## run every test, those with the real binary included
	@$(CARGO) test $(RELEASE) --workspace
	@$(CARGO) run $(RELEASE) -p cairn-sim --features mutants --bin sim -- mutants --seeds 0..2000

.PHONY: clients
clients: build ## run unmodified clients (JavaScript, Python, Rust) against a network; CLIENTS names some of them
	@tests/clients/run.sh "$${CARGO_TARGET_DIR:-target}/release/cairn"

.PHONY: interop
interop: build ## let a js-libp2p node connect, walk Kademlia and check blocks; needs node 20 and npm
	@tests/interop/run.sh "$${CARGO_TARGET_DIR:-target}/release/cairn"

.PHONY: kill-loop
kill-loop: build ## kill validators under load with SIGKILL, KILLS (200) times; SEED repeats a pattern
	@$(CARGO) run $(RELEASE) -p cairn-tests --bin kill_loop -- --kills $(or $(KILLS),200) $(if $(SEED),--seed $(SEED))

.PHONY: hostile
hostile: build ## attack validators with peers that are not our node; ROUNDS (20) peers for each attack
	@$(CARGO) run $(RELEASE) -p cairn-tests --bin hostile -- --rounds $(or $(ROUNDS),20) --transfers 100

.PHONY: damage
damage: build ## damage copies of a chain's database and see that `cairn db check` names everything; BLOCKS (100000)
	@$(CARGO) build $(RELEASE) -p cairn-tests --bin damage
	@for history in archive window; do \
		"$${CARGO_TARGET_DIR:-target}/release/damage" --blocks $(or $(BLOCKS),100000) --history $$history || exit 1; done

.PHONY: namespaces
namespaces: build ## run validators in network namespaces with delay, loss and partitions; STORY names some; needs root
	@$(CARGO) build $(RELEASE) -p cairn-tests --bin load
	@$(CARGO) run $(RELEASE) -p cairn-tests --bin namespaces -- $(STORY)

# How many seeds `make sim` runs, from 0 on.
SEEDS := 10000

.PHONY: latency
latency: setup ## measure, in virtual time, how many message delays a block and a transaction take
	@$(CARGO) run $(RELEASE) -p cairn-consensus --example latency
	@$(CARGO) run $(RELEASE) -p cairn-sim --bin sim -- latency

.PHONY: mutants
mutants: setup ## see that the simulation finds each of ten deliberate bugs
	@$(CARGO) run $(RELEASE) -p cairn-sim --features mutants --bin sim -- mutants --seeds 0..2000

.PHONY: sim
sim: setup ## simulate whole networks under faults, one from each of SEEDS=10000 seeds
	@$(CARGO) run $(RELEASE) -p cairn-sim --bin sim -- run --seeds 0..$(SEEDS)

.PHONY: fuzz
fuzz: setup ## fuzz every decoder and machine, SECONDS (600) each; TARGET names some of them
	@scripts/fuzz.sh -s $(or $(SECONDS),600) $(TARGET)

.PHONY: bench
bench: setup ## compare the state store with its peers; ACCOUNTS (100000), BENCH_FLAGS="--blocks 50 --rounds 3 ..."
	@$(CARGO) run $(RELEASE) --manifest-path tests/bench/Cargo.toml --bin state-bench -- \
		--accounts $(or $(ACCOUNTS),100000) $(BENCH_FLAGS)

.PHONY: lint
lint: setup ## formatting, lints as errors, the verifier for WebAssembly, licences and duplicates of dependencies
	cargo fmt --all --check
	@$(CARGO) clippy $(RELEASE) --workspace --all-targets -- -D warnings
	@$(CARGO) clippy $(RELEASE) --manifest-path tests/bench/Cargo.toml --all-targets -- -D warnings
	cargo fmt --manifest-path tests/bench/Cargo.toml --check
	scripts/wasm.sh
	scripts/deny.sh

.PHONY: format
format: ## format the code
	cargo fmt --all
	cargo fmt --manifest-path tests/bench/Cargo.toml
