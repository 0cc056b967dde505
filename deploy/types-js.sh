#!/bin/sh
# Checks the types of the dashboard's modules, as far as JSDoc and inference know them, with the TypeScript of npm.
# Without npm nothing is checked, and it says so.
set -eu
VERSION=5.9.3
cd "$(dirname "$0")/.."
if ! command -v npm >/dev/null 2>&1; then
    echo "types of the dashboard are not checked: npm is not installed"
    exit 0
fi
tsc() { npm exec --yes --package="typescript@$VERSION" -- tsc "$@"; }
if ! tsc --version >/dev/null 2>&1; then
    echo "types of the dashboard are not checked: npm did not give typescript $VERSION"
    exit 0
fi
tsc --project deploy/types-js.json
