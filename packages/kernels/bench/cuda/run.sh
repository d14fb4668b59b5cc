#!/bin/sh
# Builds the CUDA addon for this machine's GPU, checks every operation on it, and times it: ./run.sh [options of bench.mjs]
#
# In a checkout (after `pnpm install && pnpm build`) or in a bundle (bundle.mjs), which needs nothing but Node 20, CMake, a C++ compiler, nvcc
# and the GPU. cuBLASLt is looked for where the linker looks, and in Python's packages. With --rehearse: the same on the emulated device,
# with tiny shapes, to try the programs out where there is no GPU; what it times means nothing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
rehearse=no
for option; do [ "$option" != --rehearse ] || rehearse=yes; done
node=$(command -v node || true)
if [ -z "$node" ] && [ -f "$here/node.gz" ]; then
  node=$here/node
  gzip -dc "$here/node.gz" >"$node"
  chmod +x "$node"
fi
[ -n "$node" ] || { echo 'Node 20 or newer is needed.' >&2; exit 1; }

if [ -f "$here/cuda-bench.js" ]; then
  package=$here
  bundle=$here
else
  package=$(cd "$here/../.." && pwd)
  bundle=$package/build/cuda-bench
  "$node" "$here/bundle.mjs" --output "$bundle"
fi

if [ $rehearse = yes ]; then
  "$node" "$package/scripts/build-native.mjs" --cuda-emulated
  addon=xgen_cuda_emulated.node
else
  addon=xgen_cuda.node
  # A bundle may bring the addon along (bundle.mjs --with-addon); one that was built here has its stamp beside it.
  if [ "$package" != "$bundle" ] || [ ! -f "$bundle/build/$addon" ] || [ -f "$bundle/build/cuda-stamp.json" ]; then
    capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d '. ')
    case $capability in
      90) capability=90a ;;
      '') echo 'nvidia-smi shows no GPU.' >&2; exit 1 ;;
    esac
    XGEN_CUDA_ARCHITECTURES=$capability-real "$node" "$package/scripts/build-native.mjs" --cuda
  fi
  if ! ldconfig -p 2>/dev/null | grep -q libcublasLt; then
    for root in $(python3 -c 'import site; print(*site.getsitepackages())' 2>/dev/null); do
      found=$(find "$root/nvidia" -name 'libcublasLt.so.*' 2>/dev/null | head -n 1)
      [ -z "$found" ] || { LD_LIBRARY_PATH=$(dirname "$found")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}; break; }
    done
    export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}"
  fi
fi
# The programs in the bundle look for the addon there, under the name of the real one.
if [ "$package/build/$addon" != "$bundle/build/xgen_cuda.node" ]; then
  mkdir -p "$bundle/build"
  cp "$package/build/$addon" "$bundle/build/xgen_cuda.node"
fi
exec "$node" "$bundle/cuda-bench.js" "$@"
