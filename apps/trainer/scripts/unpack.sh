#!/bin/sh
# Unpacks what scripts/bundle.mjs packed, into the folder given: unpack.sh <folder>. Needs tar, and xz or Python 3. Some ten seconds.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"

expand() {
  if command -v xz >/dev/null 2>&1; then
    xz -dc "$1"
  else
    python3 -c 'import lzma, shutil, sys; shutil.copyfileobj(lzma.open(sys.argv[1]), sys.stdout.buffer, 1 << 20)' "$1"
  fi
}

jobs=
if [ -f "$here/node.xz" ]; then
  (expand "$here/node.xz" >"$1/node" && chmod +x "$1/node") &
  jobs="$jobs $!"
fi
for archive in "$here"/*.tar.xz; do
  expand "$archive" | tar -xf - -C "$1" &
  jobs="$jobs $!"
done
for job in $jobs; do wait "$job"; done
