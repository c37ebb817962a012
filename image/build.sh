#!/usr/bin/env bash
# Builds the container image: image/build.sh [TAG]. Needs Docker (Debian: docker.io), no network, and the host's root
# certificates (Debian: ca-certificates), which are copied into the image. FIRELANE_PROFILE: another cargo profile than
# `dist`. Equal sources, compiler and certificates give an equal rootfs.tar.
set -eu -o pipefail
cd "$(dirname "$0")/.."
tag=${1:-firelane:latest}
certificates=/etc/ssl/certs/ca-certificates.crt
limit=15000000
owner=65532 # the user of the Dockerfile, and of image/rootfs/etc/passwd

[ -s "$certificates" ] || { echo "$certificates is not there: install ca-certificates (Debian)" >&2; exit 1; }
binary=$(image/static.sh "${FIRELANE_PROFILE:-dist}")
target=$(rustc -vV | sed -n 's/^host: //p')
version=$(cargo pkgid --offline -p firelane | sed 's/.*[#@]//')
work=${CARGO_TARGET_DIR:-$PWD/target}/image
rm -rf "$work"
mkdir -p "$work/context" "$work/root"
root=$work/root

cp -r image/rootfs/. "$root"
install -m 0755 "$binary" "$root/firelane"
strip --strip-all "$root/firelane"
mkdir -p "$root/fluent-bit/bin" "$root/etc/ssl/certs" "$root/licenses" "$root/var/lib"
ln -s ../../firelane "$root/fluent-bit/bin/fluent-bit"
# The names under which the binary is the entry point, the init process, and what health checks call.
mkdir -p "$root/init" "$root/bin" "$root/usr/bin"
ln -s firelane "$root/entrypoint.sh"
ln -s ../firelane "$root/init/fluent_bit_init_process"
ln -s ../firelane "$root/init/fluent_bit_init_entrypoint.sh"
ln -s ../firelane "$root/bin/sh"
ln -s ../../firelane "$root/usr/bin/curl"
ln -s ../../firelane "$root/usr/bin/nc"
cp "$root"/fluent-bit/parsers/*.conf "$root/fluent-bit/etc/"
echo "firelane-$version" >"$root/AWS_FOR_FLUENT_BIT_VERSION"
cp "$certificates" "$root/etc/ssl/certs/ca-certificates.crt"
cp LICENSE "$root/licenses/firelane"
cargo run --quiet --locked --package xtask -- sbom "$target" >"$root/firelane.cdx.json"
chmod -R u=rwX,go=rX "$root"

# Folders to write to: for mounts, and for runs without a read-only root.
mkdir -p "$work/own/var/run" "$work/own/var/lib/firelane" "$work/own/fluent-bit/log" "$work/shared/tmp" "$work/shared/init"
chmod 0755 "$work/own/var/run"
chmod 0750 "$work/own/var/lib/firelane" "$work/own/fluent-bit/log"
chmod 1777 "$work/shared/tmp" "$work/shared/init"
pack=(tar --sort=name --mtime=@0 --numeric-owner --format=gnu --file "$work/context/rootfs.tar")
"${pack[@]}" --owner=0 --group=0 --create -C "$root" .
"${pack[@]}" --owner=$owner --group=$owner --append -C "$work/own" var/run var/lib/firelane fluent-bit/log
"${pack[@]}" --owner=0 --group=0 --append -C "$work/shared" tmp init

cp image/Dockerfile "$work/context"
docker build --network none --tag "$tag" \
    --label org.opencontainers.image.title=firelane --label "org.opencontainers.image.version=$version" \
    --label org.opencontainers.image.licenses=Apache-2.0 "$work/context" >&2
size=$(docker image inspect --format '{{.Size}}' "$tag")
echo "image $tag: $size bytes, of which the binary $(stat -c %s "$root/firelane")"
if [ "$size" -gt $limit ]; then
    echo "the image is over its limit of $limit bytes" >&2
    exit 1
fi
