#!/bin/sh
# Make .venv from requirements.lock, every file checked against its hash. Needs Python >= 3.11 and nothing else.
# Does nothing when .venv already matches the lock, pyproject.toml and the place of this checkout.
set -eu
cd "$(dirname "$0")/.."
here=$(pwd -P)

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

wanted() {
    printf '%s\n' "$here"
    cksum requirements.lock pyproject.toml
}

recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

# Sets `python` to the first Python >= 3.11, or to what the variable PYTHON names.
find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14}; do
        if recent "$candidate"; then
            # A version manager's shim answers to the name only inside its own environment: keep the real path.
            python=$("$candidate" -c 'import sys; print(sys.executable)')
            return
        fi
    done
    fail "no Python >= 3.11 among: ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14}." \
        "Install one, or name it: make setup PYTHON=/path/to/python3.12"
}

# Sets `uv` to the one on PATH, or to a private one of the version and hash that the lock names.
find_uv() {
    if uv --version >/dev/null 2>&1; then
        uv=uv
        return
    fi
    uv=.venv-uv/bin/uv
    if "$uv" --version >/dev/null 2>&1; then return; fi
    rm -rf .venv-uv
    if "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        "$python" -m venv .venv-uv
        set -- .venv-uv/bin/python -m pip install
    elif "$python" -m pip --version >/dev/null 2>&1; then
        mkdir .venv-uv
        set -- "$python" -m pip install --target .venv-uv
    else
        fail "$python has neither ensurepip nor pip. Install uv, or the venv package of your system" \
            "(Debian and Ubuntu: apt-get install python3-venv), and run this again."
    fi
    awk '/^uv==/ { on = 1 } on { print } on && !/\\$/ { exit }' requirements.lock >.venv-uv/uv.lock
    PIP_USER=0 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 \
        "$@" --quiet --no-deps --require-hashes -r .venv-uv/uv.lock
}

# A home that is missing or read-only must not stop the setup: keep the downloads beside the environment instead.
choose_cache() {
    if [ -n "${UV_CACHE_DIR:-}" ]; then return; fi
    cache=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
    if [ -z "$cache" ] || ! mkdir -p "$cache/uv" 2>/dev/null || [ ! -w "$cache/uv" ]; then
        export UV_CACHE_DIR="$here/.cache/uv"
    fi
}

# uv trusts a list of its own. Where the system keeps one, use that: it also knows a company's certificates.
choose_certificates() {
    for file in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem /etc/ssl/cert.pem; do
        if [ -r "$file" ]; then
            export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}" UV_NATIVE_TLS="${UV_NATIVE_TLS:-true}" # the second: older uv
            return
        fi
    done
}

if [ "$(cat .venv/.ready 2>/dev/null)" = "$(wanted)" ] && .venv/bin/python -c '' 2>/dev/null; then exit 0; fi

find_python
find_uv
choose_cache
choose_certificates
unset UV_SYSTEM_PYTHON            # set in many containers; it would send the packages past .venv
export UV_PYTHON_DOWNLOADS=never  # the Python found above, not one from the network

# The scripts in .venv/bin name their place: after a move of the checkout they would run the old one.
if [ "$(head -n 1 .venv/.ready 2>/dev/null || echo "$here")" != "$here" ]; then rm -rf .venv; fi
rm -f .venv/.ready
if ! recent .venv/bin/python; then
    rm -rf .venv
    "$uv" venv --quiet --python "$python" .venv
fi
printf 'setup: filling .venv from requirements.lock (the first time downloads about 350 MB)\n' >&2
if [ -t 2 ]; then quiet=; else quiet=--quiet; fi # progress for a person, no list of packages in a log
# The lock also binds what builds the few packages that come as source.
"$uv" pip sync $quiet --python .venv/bin/python --require-hashes --build-constraints requirements.lock requirements.lock
"$uv" pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
wanted >.venv/.ready
