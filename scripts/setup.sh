#!/bin/sh
# Make .venv, install midivibe with its test tools, and see that something can render audio. Safe to run again.
set -eu
cd "$(dirname "$0")/.."
venv=.venv

apt_install() { # packages...; only where apt is there and we may use it
    command -v apt-get >/dev/null 2>&1 || return 1
    if [ "$(id -u)" = 0 ]; then as_root=""; elif sudo -n true 2>/dev/null; then as_root="sudo -n"; else return 1; fi
    $as_root apt-get update -qq && $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

if ! [ -x $venv/bin/pip ]; then
    python3 -m venv $venv 2>/dev/null || {
        rm -rf $venv
        echo "setup: python3 has no working venv module; installing python3-venv"
        apt_install python3-venv || { echo "setup: install python3-venv first (apt install python3-venv)" >&2; exit 1; }
        python3 -m venv $venv
    }
fi
$venv/bin/python -m pip install --quiet --upgrade pip
$venv/bin/python -m pip install --quiet -c constraints.txt -e '.[dev]'

has_fluidsynth() { $venv/bin/python -c 'import ctypes.util as u, sys; sys.exit(not u.find_library("fluidsynth"))'; }
if ! has_fluidsynth; then
    echo "setup: FluidSynth's shared library is missing; trying apt (libfluidsynth3)"
    if ! { apt_install libfluidsynth3 && has_fluidsynth; }; then
        echo "setup: no FluidSynth here; installing tinysoundfont, which renders audio without it"
        $venv/bin/python -m pip install --quiet --no-deps tinysoundfont ||
            echo "setup: tinysoundfont could not be installed; midivibe will write everything but audio"
    fi
fi
touch $venv/.ready
