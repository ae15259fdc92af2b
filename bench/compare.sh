#!/usr/bin/env bash
# bench/compare.sh BASE: what this checkout does against BASE (a commit, a tag, a branch), on this machine, run by run in
# turn. Takes up to an hour, as root; nothing else should run. Prints the ratio of each figure's medians, here to base.
set -euo pipefail
cd "$(dirname "$0")/.."
base=${1:?bench/compare.sh BASE, a commit to compare with}
commit=$(git rev-parse --verify "$base^{commit}")
dir=$(mktemp -d "${TMPDIR:-/tmp}/backplane-compare.XXXXXX")
trap 'git worktree remove --force "$dir/base" >/dev/null 2>&1 || true; rm -rf "$dir"' EXIT
git worktree add --quiet --detach "$dir/base" "$commit"
echo "Setting up $commit …" >&2
(cd "$dir/base" && npm ci --silent && npm run --silent build)
npm run --silent build
node "$(readlink -f dist)/bench/compare.js" "$(readlink -f "$dir/base/dist")" "$(readlink -f dist)"
