#!/usr/bin/env bash
# for_card.sh PACKED BASE OUT: lay out what a machine with a GPU and no network needs to train both starter models.
# Writes OUT/a and OUT/b, each with a script `take` that copies its part to /tmp/train; OUT is a folder at the root of
# the repository. /tmp/train/run RESULTS [SECONDS [OPTIONS]] then trains both models at the same time.
set -euo pipefail
packed=$1 base=$2 out=$3
root=$(cd "$(dirname "$0")/../.." && pwd)
rm -rf "$out/a" "$out/b"
mkdir -p "$out"/{a,b}/{data,base} "$out"/a/site/{research/{training,classifier,reranker},trivet/starter}
for module in training/{on_card,packed,carried,flat_weights,plain_encoder} {classifier,reranker}/on_card; do
    cp "$root/research/$module.py" "$out/a/site/research/$module.py"
done
cp "$root/trivet/starter/delta.py" "$out/a/site/trivet/starter/"
touch "$out"/a/site/{research,research/training,research/classifier,research/reranker,trivet,trivet/starter}/__init__.py
cp "$packed/classifier.xz" "$out/a/data/"
cp "$packed/reranker.xz" "$out/b/data/"
cp "$base/base.2.xz" "$out/a/base/"
cp "$base/base.1.xz" "$out/b/base/"
cat > "$out/a/take" <<'TAKE'
#!/usr/bin/env bash
set -euo pipefail
mkdir -p /tmp/train && cp -r "$(dirname "$0")"/* /tmp/train/
TAKE
cp "$out/a/take" "$out/b/take"
cat >> "$out/a/take" <<'TAKE'
mkdir -p /tmp/train/init  # what ships travels with the repository
for task in classifier reranker; do
    cp "$(dirname "$0")/../../trivet/starter/$task/delta.safetensors" /tmp/train/init/$task.safetensors
done
TAKE
cat > "$out/b/run" <<'RUN'
#!/usr/bin/env bash
# run RESULTS [SECONDS [OPTIONS for both]]: train both starter models at the same time.
set -uo pipefail
results=$(mkdir -p "$1" && cd "$1" && pwd) seconds=${2:-80}
shift; shift || true
cd /tmp/train/site
export PYTHONPATH=/tmp/train/site PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
running=()
for task in classifier reranker; do
    ${PYTHON:-python3} -m research.training.on_card --task $task --data /tmp/train/data --base /tmp/train/base \
        --init /tmp/train/init/$task.safetensors --out "$results" --seconds "$seconds" "$@" &
    running+=($!)
done
failed=0
for process in "${running[@]}"; do wait "$process" || failed=1; done
ls -l "$results"
exit $failed
RUN
chmod +x "$out"/{a,b}/take "$out/b/run"
du -sh "$out/a" "$out/b"
