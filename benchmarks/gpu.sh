#!/usr/bin/env bash
# The standing GPU programme (docs/gpu.md): `gpu.sh [--tiny] STEP`. A step ends inside ten minutes and writes into $OUT.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON=${PYTHON:-python3}
OUT=${OUT:-runs/gpu}
export PYTHONPATH="$PWD:$PWD/runs/gpu-site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
lvm=("$PYTHON" -m openlvm)
mkdir -p "$OUT"

tiny=false runs=runs/gpu-mini # what a second call on a warm machine goes on from
if [ "${1:-}" = --tiny ]; then tiny=true runs=runs/gpu-tiny; shift; fi
step=${1:-}

# Packages that the machine lacks travel as wheels.
if [ -d .whl ] && ! "$PYTHON" -c 'import tyro' 2> /dev/null; then
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target runs/gpu-site .whl/*.whl
fi

# A command that outlives its share of the ten minutes is stopped; the ones after it still run, and the step then fails.
failed=0
within() {
    local seconds=$1; shift
    echo "+ $*" >&2
    timeout "$seconds" "$@" || { echo "failed (status $?): $*" >&2; failed=1; }
}

# ------------------------------------------------------------------------------------------------- 1 mini goes on

# The LVM of 128 pixels that training goes on from: one that travelled along, else the one in the package.
earlier() {
    local at
    for at in data/mini-128 openlvm/assets/mini; do
        if grep -qs '"image_size": 128' "$at/lvm.json"; then echo "$at"; return; fi
    done
    return 1
}

# Its tokenizer, else the one of step 1a, from this machine or carried.
tokenizer_of_mini() {
    local at
    for at in "$(earlier || echo none)/tokenizer" "$runs-tokenizer/tokenizer" data/mini-128/tokenizer; do
        if [ -f "$at/config.json" ]; then echo "$at"; return; fi
    done
    echo "there is no tokenizer of 128 pixels: run step 1a, or put what it wrote into data/mini-128/tokenizer" >&2
    return 1
}

mini_tokenizer() {
    local run=$runs-tokenizer options=(--device cuda) from
    if $tiny; then rm -rf "$run"; options=(--tiny)
    elif from=$(earlier); then echo "$from has its tokenizer; go on with step 1b"; return; fi
    within 560 "${lvm[@]}" tokenizer train mini_128_tokenizer --run "$run" --resume "${options[@]}"
    cp "$run/metrics.jsonl" "$OUT/tokenizer-metrics.jsonl" || failed=1
    if [ -d "$run/tokenizer" ]; then
        cp -r "$run/tokenizer" "$OUT/"
        cp "$(ls "$run"/panels/*.png | tail -1)" "$OUT/tokenizer-panel.png"
    fi
}

# What every training of mini_128 is told here. Forty passes over the few clips are too few for a long training.
options_of_mini() {
    local tokenizer
    mini=(--tiny)
    if $tiny; then return; fi
    tokenizer=$(tokenizer_of_mini)
    mini=(--device cuda --tokenizer "$tokenizer" --decoder.max-passes 200)
}

stores() {
    local tokenizer=demo
    if ! $tiny; then tokenizer=$(tokenizer_of_mini); fi
    within "$1" "$PYTHON" -c "
from dataclasses import replace
from pathlib import Path
from openlvm.jobs.train import make_stores
from openlvm.recipes.mini.decoder import mini_128
make_stores(replace(mini_128(tiny='$tiny' == 'true'), tokenizer='$tokenizer'), Path('$runs/stores'))"
}

# A run folder beside the others, with the same stores.
beside() { mkdir -p "$1"; ln -sfn "$PWD/$runs/stores" "$1/stores"; }

# Sixty steps tell how many fit into TRAIN_SECONDS, and whether packed rows run here; else rows are dense, not compiled.
speed() {
    local run=$runs-speed layout steps=60 short
    if $tiny; then steps=6; fi
    short=(--decoder.train.steps "$steps" --decoder.train.optim.warmup-steps 1 --decoder.train.optim.decay-steps 1)
    for layout in ${LAYOUT:-packed dense}; do
        beside "$run"
        echo "$layout" > "$runs/layout"
        if $tiny; then layout=dense; fi
        within 150 "${lvm[@]}" train mini_128 --run "$run" "${mini[@]}" $(layout_flags "$layout") "${short[@]}"
        if [ -d "$run/bundle" ]; then break; fi
        rm -rf "$run"
    done
    "$PYTHON" -c "
import json
*_, before, last = map(json.loads, open('$run/metrics.jsonl'))
steps = (last['step'] - before['step']) / last['timing']['seconds'] * ${TRAIN_SECONDS:-420}
print(min(int(steps) + 6, 12) if '$tiny' == 'true' else max(200, min(int(steps), 6000)))" > "$runs/steps"
}

layout_flags() { if ! $tiny && [ "$1" = dense ]; then echo --decoder.layout dense --decoder.no-compile; fi; }

mini_decoder() {
    local steps from
    if $tiny; then rm -rf "$runs" "$runs-speed"; fi
    mkdir -p "$runs"
    options_of_mini
    if ! $tiny && from=$(earlier); then mini+=(--start "$from" --decoder.train.seed "${SEED:-1}"); fi
    stores 330
    if [ ! -f "$runs/steps" ]; then speed; fi
    steps=$(cat "$runs/steps")
    within $((585 - SECONDS)) "${lvm[@]}" train mini_128 --run "$runs" --resume "${mini[@]}" \
        $(layout_flags "$(cat "$runs/layout")") \
        --decoder.train.steps "$steps" --decoder.train.optim.decay-steps $((steps / 3))
    if [ -d "$runs/bundle" ]; then
        within 60 "$PYTHON" tools/export_bundle.py --from "$runs/bundle" --to "$OUT/mini-128" --run "$runs"
    else
        cp "$runs/metrics.jsonl" "$OUT/decoder-metrics.jsonl" || failed=1
        echo "not finished: call step 1b again while the machine is warm" >&2
    fi
}

mini_report() {
    local asked=(--device cuda --queries "${QUERIES:-64}") bundle=$runs/bundle
    if $tiny; then asked=(--queries 1 --puzzles 1); fi
    if [ ! -d "$bundle" ]; then bundle=$(earlier || echo mini); fi
    within 585 "${lvm[@]}" evaluate mini --lvm "$bundle" --out "$OUT/report" "${asked[@]}"
}

# --------------------------------------------------------------------------------------- 2 tests, 3 speed, 4 ladder

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

# Rows beside transformers, rows of ours alone: as many as fit.
training() {
    local size=$1 beside=$2 alone=$3
    export BENCH_OUT="$OUT/training-$size.jsonl"
    if $tiny; then within 60 "$PYTHON" benchmarks/training.py --tiny; return; fi
    local settings=(--size "$size" --device cuda --precision bf16 --compile --runs 10 --warmup 3)
    within 240 "$PYTHON" benchmarks/training.py "${settings[@]}" --rows "$beside"
    within 160 "$PYTHON" benchmarks/training.py "${settings[@]}" --rows "$alone" --only ours
    within 180 "$PYTHON" benchmarks/training.py "${settings[@]}" --rows "$beside" --layout packed --only ours
}

rates() {
    export BENCH_OUT="$OUT/generation.jsonl"
    if $tiny; then
        within 60 "$PYTHON" benchmarks/generation.py --tiny --only one candidates queries batch
        BENCH_OUT="$OUT/tokenizer.jsonl" within 60 "$PYTHON" benchmarks/tokenizer.py --tiny
        return
    fi
    local settings=(--size 300m --device cuda --dtype bfloat16)
    within 150 "$PYTHON" benchmarks/generation.py "${settings[@]}" --peers dynamic static-compile --only one --runs 3
    within 150 "$PYTHON" benchmarks/generation.py "${settings[@]}" --only candidates queries batch --runs 2
    within 100 "$PYTHON" benchmarks/generation.py --size 7b --device cuda --dtype bfloat16 --peers --only one --runs 2
    export BENCH_OUT="$OUT/tokenizer.jsonl"
    within 70 "$PYTHON" benchmarks/tokenizer.py --device cuda --batch 1 --runs 20
    within 90 "$PYTHON" benchmarks/tokenizer.py --device cuda --batch 32 --runs 10
}

# Three decoders, heads of 64 channels each, with a rate that stays: name, width, width inside, layers, heads.
ladder() {
    local shapes=("3m 192 512 6 3" "9m 320 864 6 5" "27m 512 1376 8 8") seconds=${LADDER_SECONDS:-110} found=() shape
    local flat=(--decoder.train.steps 6000 --decoder.train.checkpoint-every 100000)
    if $tiny; then
        shapes=("small 192 256 3 3" "large 256 512 3 4") seconds=28
        flat=(--decoder.train.steps 400 --decoder.train.checkpoint-every 100000 --decoder.max-passes 4000)
    fi
    options_of_mini
    stores 240
    for shape in "${shapes[@]}"; do
        set -- $shape
        rm -rf "$runs-ladder-$1"
        beside "$runs-ladder-$1"
        echo "+ ladder, $shape" >&2
        # The clock ends it (status 124), not a number of steps.
        timeout "$seconds" "${lvm[@]}" train mini_128 --run "$runs-ladder-$1" "${mini[@]}" "${flat[@]}" \
            $(layout_flags "$(cat "$runs/layout" 2> /dev/null || echo packed)") --decoder.train.optim.decay-steps 1 \
            --decoder.model.hidden-size "$2" --decoder.model.mlp-size "$3" --decoder.model.num-layers "$4" \
            --decoder.model.num-heads "$5" || [ $? = 124 ] || { echo "failed: ladder, $shape" >&2; failed=1; }
        found+=("$runs-ladder-$1")
        cp "$runs-ladder-$1/metrics.jsonl" "$OUT/ladder-$1.jsonl" || failed=1
    done
    within 30 "$PYTHON" benchmarks/ladder.py --out "$OUT/ladder.json" "${found[@]}"
}

# ---------------------------------------------------------------------------------------- 5 a tokenizer with an encoder

# On a machine that is still warm, a second call goes on where the first was stopped.
tokenizers() {
    local recipe=tokenizer_128_f8 options=(--device cuda --train.steps 6000 --train.positions-per-step 64)
    options+=(--train.positions-per-forward 64 --train.checkpoint-every 500)
    if $tiny; then recipe=tokenizer_64_f8; options=(--tiny); fi
    within 420 "${lvm[@]}" tokenizer train "$recipe" --run runs/gpu-tokenizer --resume "${options[@]}"
    cp runs/gpu-tokenizer/metrics.jsonl "$OUT/tokenizer-metrics.jsonl"
    if [ -d runs/gpu-tokenizer/tokenizer ]; then
        cp runs/gpu-tokenizer/tokenizer/config.json "$OUT/tokenizer-config.json"
        cp runs/gpu-tokenizer/tokenizer/model.safetensors "$OUT/tokenizer-model.safetensors"
        within 120 "${lvm[@]}" tokenizer evaluate runs/gpu-tokenizer/tokenizer --floor --limit 64 \
            --out runs/gpu-tokenizer/evaluation
        cp runs/gpu-tokenizer/evaluation/report.json "$OUT/tokenizer-report.json"
        cp runs/gpu-tokenizer/evaluation/grid.png "$OUT/tokenizer-grid.png"
    fi
}

case $step in
    1a) mini_tokenizer ;;
    1b) mini_decoder ;;
    1c) mini_report ;;
    2) tests ;;
    3a) training 300m 8 32 ;;
    3b) training 1b 4 8 ;;
    3c) rates ;;
    4) ladder ;;
    5) tokenizers ;;
    *)
        sed -n 2p "$0"
        echo "steps: 1a mini's tokenizer, 1b its stores and decoder, 1c its report, 2 tests, 3a training at 300M," \
            "3b at 1B, 3c generation and tokenizer, 4 three sizes of decoder, 5 a tokenizer with an encoder" >&2
        exit 2
        ;;
esac
exit $failed
