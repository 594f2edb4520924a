#!/usr/bin/env bash
# Installs the Debian packages that tests use, when root; otherwise says what is missing. Does nothing when all are there.
set -eu
declare -A needed=([chromium]=chromium [bwrap]=bubblewrap [promtool]=prometheus [git]=git)
missing=()
for program in "${!needed[@]}"; do command -v "$program" >/dev/null || missing+=("${needed[$program]}"); done
fc-list :lang=zh 2>/dev/null | grep -q . || missing+=(fontconfig fonts-noto-cjk)
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "the browser, sandbox and monitoring tests need: sudo apt-get install ${missing[*]}" >&2
    exit 0
fi
echo "installing ${missing[*]}"
# Of prometheus only promtool is wanted: while packages are installed, nothing may start a service.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
if [[ " ${missing[*]} " == *" prometheus "* ]] && [ -d /run/systemd/system ]; then
    systemctl --quiet disable prometheus.service || true # nor start it with the machine
fi
