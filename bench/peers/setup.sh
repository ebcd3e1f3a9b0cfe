#!/usr/bin/env bash
# Installs infinity-emb, a peer of the benchmark, into a separate virtual environment: `bench/peers/setup.sh [DIR]`.
#
# transformers 4.48.3 is the newest that infinity's BetterTransformer path accepts (4.49 refuses it at import) and the
# oldest that knows ModernBERT; torch is the version Trivet itself is measured with, so that kernels are equal.
set -euo pipefail

folder=${1:-.cache/peers/infinity}
python=${PYTHON:-python3}

test -x "$folder/bin/python" || "$python" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
  'infinity-emb[torch,server,optimum]==0.0.78' \
  'transformers==4.48.3' \
  'optimum==1.24.0' \
  'sentence-transformers==3.4.1' \
  'torch==2.13.0' \
  'pyarrow<20'  # later ones want the numpy 2 that infinity forbids
INFINITY_ANONYMOUS_USAGE_STATS=0 "$folder/bin/infinity_emb" v2 --help > "$folder/cli-help.txt"
echo "$folder is ready"
