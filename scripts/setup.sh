#!/usr/bin/env bash
# Installs what this machine lacks; says in one line what is missing where it cannot.
#   setup.sh tools      for building
#   setup.sh tests      for the tests
set -euo pipefail
cd "$(dirname "$0")/.."

DEBIAN_COMPILER=(rustc-web cargo-web rust-web-src rust-web-llvm libstd-rust-web-dev lld-22)

missing() { # WHAT REMEDY
  echo "setup: $1 is missing. $2" >&2
  exit 1
}

has() { command -v "$1" >/dev/null; }

has_lavapipe() { ls /usr/share/vulkan/icd.d/lvp_icd* >/dev/null 2>&1; }
has_vulkan() { python3 -c 'import ctypes; ctypes.CDLL("libvulkan.so.1")' 2>/dev/null; }

can_apt() { has apt-get && { [ "$(id -u)" = 0 ] || has sudo; }; }

apt_get() {
  local sudo=()
  [ "$(id -u)" = 0 ] || sudo=(sudo)
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@"
}

# The package lists are brought up to date once, and only if something has to be installed.
updated=
apt_install() {
  [ "$updated" ] || apt_get update
  updated=yes
  apt-cache show "$@" >/dev/null 2>&1 || return 1
  apt_get install --no-install-recommends "$@"
}

# COMMAND PACKAGE REMEDY
require() {
  has "$1" && return
  can_apt && apt_install "$2" || missing "$1" "$3"
}

tools() {
  has cargo || missing "Rust" "See https://rustup.rs."
  require cc build-essential "Install a C compiler: cargo links with it."
  # Debian 12's own Node is too old to be of use.
  has node && node -e 'const [a, b] = process.versions.node.split("."); process.exit(a * 100 + +b < 2019 ? 1 : 0)' ||
    missing "Node 20.19 or later" "Here it is $(node --version 2>/dev/null || echo absent). See https://nodejs.org."
  require npm npm "It comes with Node."
  require python3 python3 "Install Python 3.9 or later."
  python3 -c 'import pip' 2>/dev/null || { can_apt && apt_install python3-pip; } ||
    missing "pip" "Run: python3 -m ensurepip."

  # Without -q: the first run compiles the build tool itself, which takes a minute and should be seen.
  cargo build -p xtask || missing "a build tool that compiles" "Rust 1.95 or later is needed: rustup update stable."
  cargo xtask compiler 2>/dev/null && return
  echo "installing a compiler for wasm32"
  if can_apt && apt_install "${DEBIAN_COMPILER[@]}"; then
    :
  elif has rustup; then
    rustup toolchain install nightly --profile minimal --component rust-src || true
  fi
  # Says what is still missing, and how to get it.
  cargo xtask compiler
}

# What `make test` needs beyond a build.
tests() {
  cargo fmt --version >/dev/null && cargo clippy --version >/dev/null ||
    missing "rustfmt or clippy" "Run: rustup component add rustfmt clippy."
  # The GPU executor's native tests run on Chromium's software driver, which this finds.
  has_vulkan || { can_apt && apt_install libvulkan1; } ||
    missing "the Vulkan loader" "Install libvulkan.so.1."
  has_lavapipe || { can_apt && apt_install mesa-vulkan-drivers; } ||
    missing "Mesa's lavapipe" "Install Mesa's Vulkan drivers: SwiftShader has no 16-bit floats."
  for name in ${CHROMIUM:+"$CHROMIUM"} chromium chromium-browser google-chrome google-chrome-stable; do
    has "$name" && echo "$(command -v "$name")" && return
  done
  echo "installing Chromium"
  can_apt && apt_install chromium ||
    missing "Chromium" "Install Chromium or Chrome, or set CHROMIUM to the program's path."
}

case "${1:-}" in
  tools | tests) "$1" ;;
  *) missing "which to set up" "Say one of: tools, tests." ;;
esac
