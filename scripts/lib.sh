# Read by every script of this folder: where the checkout is, and one
# environment for the go command.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
prefix=forge.lthn.ai/core/go-ws
tools=$root/.tools
logs=$root/.cache/test

# One set of build flags everywhere, so that every stage finds in the build
# cache what an earlier one compiled. -trimpath makes the cache independent of
# where the checkout is; -buildvcs=false spares each link a run of git.
export GOFLAGS="${GOFLAGS:+$GOFLAGS }-trimpath -buildvcs=false"
export CGO_ENABLED=1
export PATH="$tools/bin:$tools/node/node_modules/.bin:$PATH"
export npm_config_cache="$root/.cache/npm"
export STATICCHECK_CACHE="$root/.cache/staticcheck"

# A machine without a home folder keeps Go's caches in the checkout.
if [ -z "${HOME:-}" ]; then
  export HOME="$root/.cache/home"
  mkdir -p "$HOME"
fi

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# files lists what is or would be committed, as git's own patterns select it.
files() { git -C "$root" ls-files --cached --others --exclude-standard -- "$@" | while read -r f; do [ -e "$root/$f" ] && say "$f"; done; }

# testfiles PATTERN lists the test files that hold a line like PATTERN.
testfiles() { files '*_test.go' | (cd "$root" && xargs -r grep -lE "$1" || true); }

# has_go FOLDER says whether it holds Go files: the boundary around the JavaScript
# client is a module of none.
has_go() { [ -n "$(files "$1/*.go")" ]; }
