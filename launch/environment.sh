# shellcheck shell=bash
# Sourced by the other scripts: picks a Python environment and installs the package into it.
# Sets `python`: the active virtual environment's, or that of .venv, made where it is missing.

if [[ -n ${VIRTUAL_ENV:-} ]]; then
  python=$VIRTUAL_ENV/bin/python
else
  python=.venv/bin/python
  [[ -x $python ]] || "${PYTHON:-python3}" -m venv .venv
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "error: $("$python" --version) is too old; Python 3.11 or newer is needed (set PYTHON)" >&2
  exit 2
}

# install_package EXTRAS: this checkout, editable, with the extras; quick where nothing has changed.
install_package() {
  local stamp
  stamp="$(dirname "$python")/../.vidgan_jax-$1"
  if [[ ! -e $stamp || pyproject.toml -nt $stamp ]]; then
    "$python" -m pip install --quiet --disable-pip-version-check --editable ".[$1]"
    touch "$stamp"
  fi
}
