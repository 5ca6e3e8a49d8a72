#!/bin/sh
# Trains the presets that are meant for a GPU on DATA, and writes a report on each: called by `make train-gpu`.
#
#   DATA   folder in the layout of MVTec AD
#   B5     weights of torchvision's EfficientNet-B5, converted with scripts/weights.py; without them `paper` is left out
#   OUT    where bundles and reports go (target/train-gpu)
set -eu

program=target/release/csflowd
out=${OUT:-target/train-gpu}

if [ -z "${DATA:-}" ]; then
    echo "train-gpu: name the folder of images: make train-gpu DATA=dir" >&2
    exit 64
fi
mkdir -p "$out"

# Card and driver stand above the figures, so that a log can be quoted.
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader

train() {
    preset=$1
    shift
    "$program" train --preset "$preset" --device cuda:0 --data "$DATA" --out "$out/$preset.csflow" "$@"
    "$program" evaluate --device cuda:0 --bundle "$out/$preset.csflow" --data "$DATA" --report "$out/$preset-report"
    "$program" bench --device cuda:0 --bundle "$out/$preset.csflow" --json
}

train balanced
if [ -n "${B5:-}" ]; then
    train paper --backbone-weights "$B5"
else
    echo "train-gpu: paper needs the weights of EfficientNet-B5: make train-gpu DATA=dir B5=file.safetensors"
fi
