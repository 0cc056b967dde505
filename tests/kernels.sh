#!/bin/sh
# The numeric tests with the kernels of other processors: torch, oneDNN, MKL and OpenBLAS choose theirs by what the
# processor has, and each set of kernels rounds in its own way. `make test` runs them with the machine's own choice.
set -eu
PYTEST=${PYTEST:-pytest}
# Only their files: to collect all others takes as long as many of the tests.
FILES=$(grep -rlw --include='test_*.py' 'mark[.]numeric' tests)

numeric() { # settings, then options of pytest
    echo "== numeric tests with $1"
    settings=$1
    shift
    # shellcheck disable=SC2086 # settings and files are several words
    env $settings OMP_NUM_THREADS=1 $PYTEST -q -n 2 --dist loadfile -m numeric $FILES "$@"
}

numeric "ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 OPENBLAS_CORETYPE=Nehalem" "$@"
if grep -qw avx2 /proc/cpuinfo; then
    numeric "ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 OPENBLAS_CORETYPE=Haswell" "$@"
else
    echo "== not with ATEN_CPU_CAPABILITY=avx2: this processor has no AVX2"
fi
if grep -qw avx512f /proc/cpuinfo && grep -qw avx512vl /proc/cpuinfo; then
    if [ -n "${CI:-}" ]; then
        echo "== not again with ATEN_CPU_CAPABILITY=avx512: it is this processor's own choice, with which make test ran"
    else
        numeric "ATEN_CPU_CAPABILITY=avx512" "$@"
    fi
else
    echo "== not with ATEN_CPU_CAPABILITY=avx512: this processor has no AVX-512; tests/unit/test_last_bits.py stands in"
fi
