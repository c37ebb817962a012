# Lists the tasks.
default:
    @just --list --unsorted

# The loop: format, lints, unit tests.
quick:
    cargo fmt --all
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test --workspace --lib --bins

# Everything, as the README says.
test:
    tests/run

# What CI runs.
ci:
    .ci/run

# Made-up records, printed.
run CONF="examples/quick-start.conf":
    cargo run --release -- router -c {{CONF}}

# The golden cases of one kind: ecs, router, forward or outputs.
vectors KIND:
    cargo build --release -p firelane
    tests/vectors/run.py --bin target/release/firelane --kind {{KIND}}

# The repository's rules.
tidy:
    cargo xtask tidy

# The shipped binary: smaller, a little faster, built slowly. Its relocations are packed: it needs glibc 2.36.
dist:
    cargo rustc --profile dist -p firelane --bin firelane -- -C link-arg=-Wl,-z,pack-relative-relocs

# The container image; needs Docker.
image TAG="firelane:latest":
    image/build.sh {{TAG}}

# The image on a Docker engine; started as root it brings an engine of its own.
image-test:
    tests/docker/image.py

# The bill of materials of the shipped binary.
sbom:
    cargo xtask sbom

# Five minutes of one fuzz target (needs cargo-fuzz).
fuzz TARGET:
    mkdir -p fuzz/target/found/{{TARGET}}
    RUSTC_BOOTSTRAP=1 cargo fuzz run {{TARGET}} fuzz/target/found/{{TARGET}} fuzz/corpus/{{TARGET}} fuzz/regressions/{{TARGET}} -- -max_total_time=300
