#!/bin/sh
# Stands in for the programs that shell lines of packetdrill scripts call, by the name it is called
# by: what they would tell a kernel goes into the folder $PH_PACKETDRILL_SYSCTLS, which the object
# libph_packetdrill.so follows (src/judge/settings_folder.h). See tests/packetdrill/genuine.py.
set -u
folder=${PH_PACKETDRILL_SYSCTLS:?the folder of settings}

# What is moved into its place changes the folder's time, and so is noticed.
put() { # FILE, its text on the standard input
  cat > "$folder/.$$" && mv "$folder/.$$" "$folder/$1"
}

assign() { # NAME=VALUE, NAME as sysctl or /proc writes it
  name=${1%%=*}
  value=${1#*=}
  case $name in
    net.ipv4.*) name=${name#net.ipv4.} ;;
    net/ipv4/*) name=${name#net/ipv4/} ;;
    /proc/sys/net/ipv4/*) name=${name#/proc/sys/net/ipv4/} ;;
    *) return 0 ;; # not of this stack
  esac
  printf '%s\n' "$value" | put "$name"
}

remember() { # a line of ip or tc
  { cat "$folder/commands" 2>/dev/null; printf '%s\n' "$*"; } | put commands
}

case ${0##*/} in
  sysctl)
    for word; do
      case $word in
        -*) ;;
        *=*) assign "$word" ;;
        net.ipv4.*) cat "$folder/${word#net.ipv4.}" 2>/dev/null ;;
      esac
    done
    ;;
  set_sysctls.py)
    # Scripts end with a call of this file, which would set the old values again.
    printf '#!/bin/sh\n' > "/tmp/sysctl_restore_${PACKETDRILL_PID:-0}.sh"
    chmod u+x "/tmp/sysctl_restore_${PACKETDRILL_PID:-0}.sh"
    for word; do assign "$word"; done
    ;;
  defaults.sh)
    # Of a suite that comes as data: its values are in DEFAULTS.txt beside this folder.
    remember ip tcp_metrics flush all
    while IFS= read -r line; do
      case $line in net.ipv4.*' = '*) assign "${line%% = *}=${line#* = }" ;; esac
    done < "${0%/*}/../DEFAULTS.txt"
    ;;
  ip | tc) remember "${0##*/}" "$@" ;;
  nstat) cat "$folder/counters" 2>/dev/null ;;
  ethtool) ;; # the device has no offloads to switch
  *)
    echo "${0##*/}: nothing stands in for this program" >&2
    exit 1
    ;;
esac
exit 0
