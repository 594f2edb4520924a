#!/usr/bin/env bash
# Installs the Debian packages that tests use, when root; otherwise says what is missing. Does nothing when all are there.
set -eu
declare -A needed=([chromium]=chromium [bwrap]=bubblewrap)
missing=()
for program in "${!needed[@]}"; do command -v "$program" >/dev/null || missing+=("${needed[$program]}"); done
fc-list :lang=zh 2>/dev/null | grep -q . || missing+=(fontconfig fonts-noto-cjk)
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "the browser and sandbox tests need: sudo apt-get install ${missing[*]}" >&2
    exit 0
fi
echo "installing ${missing[*]}"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
