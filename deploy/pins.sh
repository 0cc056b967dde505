#!/bin/sh
# Write deploy/pins anew: the version and the hashes of everything that `make` installs. Run by `make pins`.
#
#   app.txt, dev.txt     what `make demo` and `make test` need, for every Python and system
#   cpu.txt, gpu.txt     the runtime of the models, one of the two
#   server.txt, edge.txt what the container files and the install script of deploy/ take: no torch
#   build.txt            what builds the wheel there
#   torch.txt            torch and its CUDA libraries: versions only, for a build without CUDA, whose hashes are
#                        others, is as good
#
# and deploy/sbom.cdx.json, the list of what `make demo` installs with its licences (CycloneDX), which the wheel carries.
set -eu
cd "$(dirname "$0")/.."
bin=${1:?name the folder of the programs: pins.sh .venv/bin}
uv=$bin/uv
pins=deploy/pins

compile() { # FILE, then options: all that a set of extras needs, with hashes
    file=$1
    shift
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
        --upgrade --output-file "$file" "$@"
}

names_of() { # FILE: the names in it that belong to torch
    sed -n -E 's/^(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==.*/\1/p' "$1" | sort -u
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
all="pyproject.toml $pins/build.in"
# shellcheck disable=SC2086 # a list of files is meant
compile "$scratch/all.txt" --extra demo --extra dev --extra gpu $all
without=$(names_of "$scratch/all.txt" | sed 's/^/--no-emit-package /')
# shellcheck disable=SC2086 # a list of options is meant
{
    compile "$pins/app.txt" --extra demo --extra parquet $without $all
    compile "$pins/dev.txt" --extra demo --extra dev $without $all
    compile "$pins/cpu.txt" --extra cpu $without $all
    compile "$pins/gpu.txt" --extra gpu $without $all
    compile "$pins/server.txt" --extra server --extra broker --extra otel $without pyproject.toml
    compile "$pins/edge.txt" $without pyproject.toml
    compile "$pins/build.txt" "$pins/build.in"
}
"$uv" pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header --upgrade \
    --output-file "$scratch/plain.txt" --extra demo --extra gpu pyproject.toml
{
    echo "# Written by make pins. torch and its CUDA libraries: see deploy/pins.sh."
    grep -E '^(torch|triton|nvidia-|cuda-)' "$scratch/plain.txt"
} >"$pins/torch.txt"
for set in app dev cpu gpu server edge build; do
    { echo "# Written by make pins: what to install, and the hashes of its files."; cat "$pins/$set.txt"; } >"$scratch/set"
    cp "$scratch/set" "$pins/$set.txt"
done

"$bin/python" -m venv "$scratch/app"
sh deploy/bootstrap.sh pinned "$scratch/app" app cpu
"$bin/cyclonedx-py" environment --pyproject pyproject.toml --output-reproducible --output-format JSON \
    --output-file deploy/sbom.cdx.json "$scratch/app/bin/python"
