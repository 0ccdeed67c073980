#!/bin/sh
# usage: venv.sh DIRECTORY LOCKFILE. Create a virtual environment from hashed requirements and install this project into it.
set -eu
venv=$1
lock=$2
python=${PYTHON:-python3}

command -v "$python" >/dev/null 2>&1 || { echo "certmgr: $python was not found. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "certmgr needs Python 3.11 or newer; $python is $("$python" -V). Name a newer one: make PYTHON=/path/to/python3 ..." >&2; exit 1; }

if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends python3-venv
    else
        echo "certmgr: this Python cannot create virtual environments. As root: apt-get install python3-venv" >&2
        exit 1
    fi
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
# The build backend is in the development lock, so that nothing is downloaded without a hash.
if "$venv/bin/python" -c 'import hatchling, editables' 2>/dev/null; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
fi
