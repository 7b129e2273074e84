#!/usr/bin/env bash
# The standing GPU programme (docs/gpu.md): `gpu.sh [--tiny] STEP`. Each step ends inside ten minutes and writes into $OUT.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON=${PYTHON:-python3}
OUT=${OUT:-runs/gpu}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
mkdir -p "$OUT"

tiny=false
if [ "${1:-}" = --tiny ]; then tiny=true; shift; fi
step=${1:-}

# A command that outlives its share of the ten minutes is stopped; the ones after it still run, and the step then fails.
failed=0
within() {
    local seconds=$1; shift
    echo "+ $*" >&2
    timeout "$seconds" "$@" || { echo "failed (status $?): $*" >&2; failed=1; }
}

pytests() {
    local log=$1 seconds=$2; shift 2
    within "$seconds" "$PYTHON" -m pytest -q -p no:cacheprovider "$@" > "$OUT/$log" 2>&1
    cat "$OUT/$log"
}

tests() {
    if $tiny; then pytests tests-gpu.txt 60 -m 'gpu or not slow' tests/model tests/test_floors.py; return; fi
    pytests tests-gpu.txt 300 -m gpu tests
    pytests tests-with-gpu.txt 240 -m 'not slow and not gpu and not weights' tests/model tests/training tests/prompting
}

training() {
    export BENCH_OUT="$OUT/training.jsonl"
    if $tiny; then within 60 "$PYTHON" benchmarks/training.py --tiny; return; fi
    local settings=(--size 300m --device cuda --precision bf16 --compile --runs 10 --warmup 3)
    within 200 "$PYTHON" benchmarks/training.py "${settings[@]}" --rows 8
    within 150 "$PYTHON" benchmarks/training.py "${settings[@]}" --rows 32 --only ours
    within 200 "$PYTHON" benchmarks/training.py "${settings[@]}" --rows 8 --layout packed --only ours
}

rates() {
    if $tiny; then
        BENCH_OUT="$OUT/generation.jsonl" within 60 "$PYTHON" benchmarks/generation.py --tiny --only one candidates queries
        BENCH_OUT="$OUT/tokenizer.jsonl" within 60 "$PYTHON" benchmarks/tokenizer.py --tiny
        return
    fi
    local settings=(--size 300m --device cuda --dtype bfloat16)
    export BENCH_OUT="$OUT/generation.jsonl"
    within 200 "$PYTHON" benchmarks/generation.py "${settings[@]}" --peers dynamic static-compile --only one --runs 3
    within 150 "$PYTHON" benchmarks/generation.py "${settings[@]}" --only candidates queries --runs 2
    export BENCH_OUT="$OUT/tokenizer.jsonl"
    within 90 "$PYTHON" benchmarks/tokenizer.py --device cuda --batch 1 --runs 20
    within 120 "$PYTHON" benchmarks/tokenizer.py --device cuda --batch 32 --runs 10
}

# On a machine that is still warm, a second call goes on where the first was stopped.
tokenizers() {
    local recipe=tokenizer_128_f8 options=(--device cuda --train.steps 6000 --train.positions-per-step 64)
    options+=(--train.positions-per-forward 64 --train.checkpoint-every 500)
    if $tiny; then recipe=tokenizer_64_f8; options=(--tiny); fi
    within 420 "$PYTHON" -m openlvm tokenizer train "$recipe" --run runs/gpu-tokenizer --resume "${options[@]}"
    cp runs/gpu-tokenizer/metrics.jsonl "$OUT/tokenizer-metrics.jsonl"
    if [ -d runs/gpu-tokenizer/tokenizer ]; then
        cp runs/gpu-tokenizer/tokenizer/config.json "$OUT/tokenizer-config.json"
        cp runs/gpu-tokenizer/tokenizer/model.safetensors "$OUT/tokenizer-model.safetensors"
        within 120 "$PYTHON" -m openlvm tokenizer evaluate runs/gpu-tokenizer/tokenizer --floor --limit 64 \
            --out runs/gpu-tokenizer/evaluation
        cp runs/gpu-tokenizer/evaluation/report.json "$OUT/tokenizer-report.json"
        cp runs/gpu-tokenizer/evaluation/grid.png "$OUT/tokenizer-grid.png"
    fi
}

case $step in
    1) tests ;;
    2) training ;;
    3) rates ;;
    4) tokenizers ;;
    *) sed -n 2p "$0"; echo "steps: 1 tests, 2 training, 3 generation and tokenizer, 4 training a tokenizer" >&2; exit 2 ;;
esac
exit $failed
