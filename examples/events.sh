#!/bin/sh
# Reads the next N events by curl and jq, and goes on where it ended the time before.
#
#   BACKPLANE_TOKEN=$(cat data/token) ./events.sh [N]
set -eu
http=${BACKPLANE_HTTP:-http://127.0.0.1:8485}
file=${CURSOR_FILE:-events.cursor}
lines=$(mktemp)
trap 'rm -f "$lines"' EXIT

cursor=$(cat "$file" 2>/dev/null || true)
request=$(jq -n --arg cursor "$cursor" --argjson limit "${1:-10}" \
  '{topics: ["process"], limit: $limit} + if $cursor == "" then {since: "1h"} else {cursor: $cursor} end')

# The token comes by standard input: arguments are seen by everybody on the machine.
printf 'Authorization: Bearer %s' "${BACKPLANE_TOKEN:-}" |
  curl -sN -H @- -H 'Content-Type: application/json' -d "$request" "$http/v1/events" | tee "$lines" |
  jq -c 'select(.result.event) | .result.event | {node, type, time, position, pid: .process.pid}'

# What came is whole only where the last line says so.
case $(tail -n 1 "$lines") in
  '{"end":'*) tail -n 1 "$lines" | jq -r .end.cursor > "$file" ;;
  '{"error":'* | '{"type":'*) tail -n 1 "$lines" | jq -r '.error // . | .detail' >&2; exit 1 ;;
  *) echo 'the stream was cut off' >&2; exit 1 ;;
esac
