#!/bin/sh
# Start tinyt2 with the machine code of the image, from a copy: numba only takes a cache that
# it may write to, and the root file system may be read-only.
set -eu
if ! mkdir -p "$NUMBA_CACHE_DIR" || ! cp -R /opt/tinyt2/jit/. "$NUMBA_CACHE_DIR"; then
  echo "cannot write to $NUMBA_CACHE_DIR: mount a volume or tmpfs of user $(id -u) there" >&2
  exit 2
fi
exec tinyt2 "$@"
