#!/usr/bin/env bash
# The one door of posthaste: installs what is missing, builds, and runs what you ask for.
# `./ph help` lists the verbs. Everything lands in build/; nothing outside it is written, except
# Debian packages (tools/packages.txt), which are announced first.
set -euo pipefail

python=/usr/bin/python3  # Debian's own, which tools/packages.txt names
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cpus=$(nproc)
memory_gb=$(awk '/^MemTotal/ {print int($2 / 1048576)}' /proc/meminfo)
jobs=${PH_JOBS:-$((cpus * 2 <= memory_gb + 2 ? cpus : memory_gb / 2 + 1))}

usage() {
  cat <<'TEXT'
usage: ./ph VERB ...

  demo                        curl fetches 32 MiB from a web server over a lossy wire; a report
  up, run, status, capture, journey, down      the `ph` program: see ./ph run --help and README.md
  sim swarm [--seeds N]       random networks, faults, programs, one a seed: ./ph sim swarm --help
  test [quick | --full]       the whole check (quick: release build and its tests only; full:
                              also what takes hours, goes on where it was interrupted)
  build [PRESET [TARGET...]]  build (presets: release, debug, asan, tsan, fuzz, coverage)
  bench [NAME...] [--json FILE]      benchmarks: micro, stream, dropin, scale, or a pattern
  bench cc [--grid] [--json FILE]    congestion control beside Linux's own (root)
  fuzz [TARGET [SECONDS]]     fuzz one target, or each for a minute
  fmt                         clang-format what you have changed since the last commit
  lint [FILE...]              the project's own rules, clang-tidy, and what nobody uses
TEXT
}

if [[ -t 2 && ${TERM:-dumb} != dumb ]]; then live=1; else live=; fi
red='' dim='' plain=''
if [[ $live && -z ${NO_COLOR:-} ]]; then red=$'\e[31m' dim=$'\e[2m' plain=$'\e[0m'; fi

say() { printf '%s\n' "$dim$*$plain" >&2; }
die() { printf '%s\n' "${red}ph: $1$plain" "${@:2}" >&2; exit 125; }

# progress TITLE LOG [PATTERN]: shows the lines that match (ninja's steps) as one line that changes
# (on a terminal) or as TITLE alone, and keeps all in LOG. Shows nothing when there are none.
progress() {
  local title=$1 log=$2 pattern=${3:-'[[]*[]]*'} line width=0 told=
  if [[ $live ]]; then width=$(($(tput cols 2>/dev/null || echo 80) - ${#title} - 3)); fi
  : >"$log"
  while IFS= read -r line; do
    printf '%s\n' "$line" >>"$log"
    if [[ $line != $pattern || $line == *'Re-checking globbed'* ]]; then continue; fi
    if [[ $live ]]; then
      printf '\r\e[K%s' "$title: ${line:0:width}" >&2
    elif [[ ! $told && $pattern != '*' ]]; then
      say "$title (a few minutes the first time)"
      told=1
    fi
  done
  if [[ $live ]]; then printf '\r\e[K' >&2; fi
}

# --- Debian packages ------------------------------------------------------------------------------

# wanted_packages SECTION...: the names in those sections of packages.txt ("# to build").
wanted_packages() {
  awk -v wanted=" $* " '/^# to / {section = " " $3 " "} /^[^#]/ && index(wanted, section) {
    print $1}' "$root/tools/packages.txt"
}

# without_services COMMAND...: runs it while newly installed services may not start. A subshell, so
# that the policy goes again even when the user interrupts.
without_services() (
  policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy ]]; then
    trap '$as_root rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
  fi
  "$@"
)

install_packages() {
  local log=$root/build/packages.log
  if [[ $(id -u) == 0 ]]; then as_root=; else as_root=sudo; fi
  if [[ $as_root ]] && ! command -v sudo >/dev/null; then
    die "these Debian packages are missing: $*" "Install them as root:  apt-get install $*"
  fi
  say "installing Debian packages: $*"
  local apt=($as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get
             -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300)
  local install=("${apt[@]}" install -y --no-install-recommends "$@")
  without_services "${install[@]}" </dev/null 2>&1 | progress apt "$log" '*' && return
  say "refreshing the package lists and trying again"
  "${apt[@]}" update </dev/null 2>&1 | progress apt "$log" '*' || true
  without_services "${install[@]}" </dev/null 2>&1 | progress apt "$log" '*' && return
  tail -n 5 "$log" >&2
  die "apt-get could not install them (all of its output: $log)" \
      "Install them by hand, then run ./ph again:  apt-get install $*"
}

# need SECTION...: sees to it that the packages are there. A stamp makes the second time free.
need() {
  local stamp name missing=() sections=$*
  stamp=$root/build/.packages-${sections// /-}-$(cksum <"$root/tools/packages.txt" | tr -dc 0-9)
  if [[ -e $stamp ]]; then return; fi
  mkdir -p "$root/build"
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    say "no Debian here: tools/packages.txt lists what must be installed by other means"
    touch "$stamp"
    return
  fi
  local installed
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p')
  for name in $(wanted_packages "$@"); do
    grep -qxF -- "$name" <<<"$installed" || missing+=("$name")
  done
  if ((${#missing[@]})); then install_packages "${missing[@]}"; fi
  rm -f "$root/build/.packages-${sections// /-}-"[0-9]*
  touch "$stamp"
}

# --- building -------------------------------------------------------------------------------------

# has_room FOLDER: something can be written there; not so on a full disk.
has_room() {
  local probe=$1/.ph-room.$BASHPID written=0  # others ask at the same time
  { (printf '%4096s' '' >"$probe"); } 2>/dev/null || written=1  # a limit's signal ends but that
  rm -f "$probe" 2>/dev/null || true
  return "$written"
}

# build PRESET [TARGET...]: configures if needed and builds. Quiet when there is nothing to do.
build() {
  local preset=$1 folder=$root/build/$1 log=$root/build/$1.log started=$SECONDS
  shift
  # Somebody else's checkout, as whoever builds there has left it.
  if [[ ! -w $root && ! -w $folder && -e $folder/build.ninja ]]; then return; fi
  mkdir -p "$folder" 2>&- && [[ -w $folder ]] || die \
    "$root is not built, and you may not write to it." \
    "Have its owner run ./ph build $preset, or clone it."
  exec {lock}>"$folder/.ph-lock"
  flock "$lock"
  if [[ ! -e $folder/build.ninja ]]; then
    say "configuring build/$preset"
    if ! (cd "$root" && cmake --preset "$preset") >"$log" 2>&1; then
      tail -n 20 "$log" >&2
      die "cmake could not configure the preset $preset (all of its output: $log)" \
          "If a package is missing, add it to tools/packages.txt; else remove $folder."
    fi
  fi
  if ! ninja -C "$folder" -j "$jobs" "$@" 2>&1 | progress "building $preset" "$log"; then
    grep -A 12 -m 3 -E '^FAILED:|error:' "$log" >&2 || tail -n 20 "$log" >&2
    die "the build of $preset failed (all of its output: $log)"
  fi
  exec {lock}>&-
  if ! grep -q 'ninja: no work to do' "$log"; then
    say "built $preset in $((SECONDS - started)) s"
  fi
}

# --- verbs ----------------------------------------------------------------------------------------

built=$root/build/release

verb=${1-help}
if (($#)); then shift; fi
# What only explains itself needs no build.
if [[ " $* " == *" --help "* || " $* " == *" -h "* ]]; then
  case $verb in
    build | demo | fmt | fuzz | lint | test) usage; exit ;;
    bench)
      if [[ ${1:-} == cc ]]; then exec "$python" "$root/tools/bench_cc.py" "${@:2}"; fi
      exec "$python" "$root/tools/bench.py" "$@"
      ;;
  esac
fi
case $verb in
  help | -h | --help) usage ;;
  build)
    if ! grep -qF "{\"name\": \"${1:-release}\", \"inherits\"" "$root/CMakePresets.json"; then
      printf '%s\n' "${red}ph: no preset is named '$1'$plain" "\`./ph help\` lists them" >&2
      exit 2
    fi
    if [[ ${1:-} == fuzz ]]; then need build test; else need build; fi
    build "${@:-release}"
    ;;
  test)
    # Other words are refused before anything is installed for them.
    case ${1:-} in '' | quick | --full) need build test ;; esac
    exec "$python" "$root/tools/check.py" "$@"
    ;;
  demo)
    need build
    build release programs
    exec "$python" "$root/tools/demo.py" "$built/ph"
    ;;
  bench)
    need build test
    if [[ ${1:-} == cc ]]; then
      build release ph_cc
      exec "$python" "$root/tools/bench_cc.py" "${@:2}"
    fi
    build release ph_bench programs
    exec "$python" "$root/tools/bench.py" "$@"
    ;;
  fuzz)
    need build test
    exec "$python" "$root/tools/check.py" --fuzz "$@"
    ;;
  fmt)
    need format
    cd "$root" && exec git clang-format-16 --binary clang-format-16 "$@"
    ;;
  lint)
    need build format
    "$python" "$root/tools/tidy.py"
    "$python" "$root/tools/unused.py" || unused=1
    build release
    mkdir -p "$root/build/lint"  # clang reads none of GCC's precompiled headers
    sed -E 's# -Winvalid-pch -include [^ ]+##' "$built/compile_commands.json" \
      >"$root/build/lint/compile_commands.json"
    cd "$root" && run-clang-tidy-16 -quiet -p build/lint -j "$jobs" "${@:-/src/}"
    exit ${unused:-0}
    ;;
  *)
    # A lab can be used and ended where nothing can be built any more.
    if [[ -x $built/ph && -e $built/build.ninja && -w $built ]] && ! has_room "$built"; then
      say "nothing can be written to $built: it is used as it is"
    else
      need build
      build release programs
    fi
    exec "$built/ph" "$verb" "$@"
    ;;
esac
