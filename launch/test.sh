#!/usr/bin/env bash
# Sets up and runs the checks: style, types, tests. Arguments go to pytest: launch/test.sh -k inflate
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=launch/environment.sh
source launch/environment.sh

# The CPU build first: the default one brings gigabytes of CUDA.
if ! "$python" -c 'import torch' 2>/dev/null; then
  "$python" -m pip install --quiet --disable-pip-version-check torch==2.13.0
fi
install_package "test"

"$python" -m ruff check .
"$python" -m ruff format --check .
"$python" -m mypy
exec "$python" -m pytest -n "${PYTEST_WORKERS:-2}" "$@"
