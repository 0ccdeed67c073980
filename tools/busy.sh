#!/bin/sh
# usage: busy.sh COUNT COMMAND... Run COMMAND with COUNT busy loops, and stop the loops when it ends.
set -u
count=$1
shift
loops=
while [ "$count" -gt 0 ]; do
    sh -c 'while :; do :; done' &
    loops="$loops $!"
    count=$((count - 1))
done
# shellcheck disable=SC2086
trap 'kill $loops 2>/dev/null' EXIT INT TERM
"$@"
