#!/bin/sh
# usage: busy.sh COUNT COMMAND... Runs COMMAND with COUNT busy loops alongside, and ends them with it.
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
