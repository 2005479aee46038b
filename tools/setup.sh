#!/bin/sh
# Makes .venv from requirements.lock and installs this project into it; silent and quick when nothing changed.
#   sh tools/setup.sh
#   PYTHON=/somewhere/python3.12 sh tools/setup.sh
set -eu

root=$(cd "$(dirname "$0")/.." && pwd -P)
cd "$root"
stamp=.venv/.lock-sha
if [ "${OS:-}" = Windows_NT ]; then
    venv_bin=.venv/Scripts
    venv_python=$venv_bin/python.exe
else
    venv_bin=.venv/bin
    venv_python=$venv_bin/python
fi

say() {
    printf '%s\n' "$*" >&2
}

stop() {
    say "error: $*"
    exit 2
}

sha256() {
    if command -v sha256sum >/dev/null 2>&1; then sha256sum; else shasum -a 256; fi
}

# Prints the interpreter behind a command when Affinage runs on it. The base of a virtual environment, not
# the environment itself: .venv must outlive whichever one is active now, and may be that one.
suitable() {
    "$@" -c '
import sys
fits = (3, 12) <= sys.version_info[:2] < (3, 14) and sys.implementation.name == "cpython" and sys.maxsize > 2**32
sys.stdout.write(getattr(sys, "_base_executable", sys.executable) if fits else "")
sys.exit(not fits)' 2>/dev/null
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        suitable "$PYTHON" || stop "PYTHON=$PYTHON is not a 64-bit CPython 3.12 or 3.13 that starts. Mend or unset it."
        return
    fi
    for name in python3 python3.12 python3.13 python; do
        suitable "$name" && return
    done
    for path in "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/3.12*/bin/python3 \
        "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/3.13*/bin/python3; do
        suitable "$path" && return
    done
    found=$(uv python find --system --no-project '>=3.12,<3.14' 2>/dev/null) && suitable "$found" && return
    suitable py -3.12 || suitable py -3.13 || stop_without_python
}

stop_without_python() {
    stop "no 64-bit CPython 3.12 or 3.13 found.
  Looked at: python3, python3.12, python3.13 and python on PATH; ${PYENV_ROOT:-${HOME:-}/.pyenv}/versions; uv; py.
  Get one with any of:
    uv python install 3.12
    pyenv install 3.12
    apt install python3.12 python3.12-venv
    the installer from python.org
  or name one: PYTHON=/somewhere/python3.12 sh tools/setup.sh"
}

uv_on_path() {
    uv --version >/dev/null 2>&1
}

make_venv() {
    python=$(find_python)
    say "Making .venv with $python"
    rm -rf .venv
    if uv_on_path; then
        uv venv --quiet --no-project --python "$python" .venv
    else
        "$python" -m venv .venv >&2 || stop "$python cannot make a virtual environment with pip in it.
  On Debian and Ubuntu: apt install python3-venv (or python3.12-venv); elsewhere: install uv and repeat."
    fi
}

# Prints the uv to install with. Its own pin stands in requirements.lock, so pip checks the hash.
find_uv() {
    if uv_on_path; then
        printf 'uv'
        return
    fi
    if [ ! -x "$venv_bin/uv" ] && [ ! -x "$venv_bin/uv.exe" ]; then
        awk '/^[^ #]/ { keep = /^uv==/ } keep' requirements.lock >.venv/uv.lock
        "$venv_python" -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.lock >&2
    fi
    printf '%s' "$venv_bin/uv"
}

install() {
    uv=$(find_uv)
    quiet=
    [ -t 2 ] || quiet=--quiet
    say "Installing requirements.lock (first time: several GB to download, 6 GB of disk on Linux)"
    # The constraint also pins, hash by hash, what the one source-only package needs to be built.
    "$uv" pip sync $quiet --compile-bytecode --python "$venv_python" --require-hashes --build-constraint requirements.lock requirements.lock
    "$uv" pip install --quiet --python "$venv_python" --no-deps --no-build-isolation --editable .
}

# uv reads no pip setting, and a mirror is most often named in this one.
if [ -n "${PIP_INDEX_URL:-}" ] && [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
    export UV_DEFAULT_INDEX="$PIP_INDEX_URL"
fi
export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-300}"

# The folder is part of it: the scripts inside a virtual environment hold its absolute path.
wanted="$(cat requirements.lock pyproject.toml | sha256 | cut -d ' ' -f 1) $root"
done_before=$(cat "$stamp" 2>/dev/null || true)
if [ "$done_before" = "$wanted" ] && [ -x "$venv_python" ]; then
    exit 0
fi
started=$(date +%s)
rm -f "$stamp"
case "$done_before" in
*" $root") suitable "$venv_python" >/dev/null || make_venv ;;
*) make_venv ;;
esac
install
printf '%s\n' "$wanted" >"$stamp"
say ".venv is ready: $("$venv_python" --version), $(($(date +%s) - started)) s"
