#!/usr/bin/env bash
# Builds the binary of the image, which is the router without the control side: image/static.sh [PROFILE]. Its path is
# the last line of standard output. glibc is linked in, so it runs where there is nothing else. It has its own target
# folder, since all crates are compiled with other flags.
set -eu -o pipefail
cd "$(dirname "$0")/.."
profile=${1:-dist}
target=$(rustc -vV | sed -n 's/^host: //p')
folder=${CARGO_TARGET_DIR:-$PWD/target}/static
# With `--target` these flags do not reach build scripts and macros, which the compiler has to load. The places that
# panics name are short, and the same on every machine.
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
read -ra flags <<<"${RUSTFLAGS:-}"
flags+=(-C target-feature=+crt-static "--remap-path-prefix=$registry/=" "--remap-path-prefix=$PWD/=")
CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && echo "${flags[*]}")
export CARGO_ENCODED_RUSTFLAGS
cargo rustc --locked --profile "$profile" --target "$target" --target-dir "$folder" -p firelane --no-default-features \
    --bin firelane -- \
    -C link-arg=-Wl,-z,pack-relative-relocs -C link-arg=-Wl,--icf=all >&2
binary=$folder/$target/$profile/firelane
if readelf --program-headers --dynamic "$binary" | grep -E 'INTERP|NEEDED' >&2; then
    echo "$binary is not static: it asks for a loader or a library" >&2
    exit 1
fi
echo "$binary"
