#!/usr/bin/env python3
"""What a GPU is worth: first whether it says the same as the CPU in f32, then how fast it is.

    make bench-gpu                           on drawn parts
    make bench-gpu DATA=dir [B5=file]        on your own pictures, in the layout of MVTec AD; B5 are the weights of
                                             torchvision's EfficientNet-B5, for `paper`
    DEVICE=cuda:1                            another device; with cpu it shows that all is in place

Standard library only. Everything it makes is in target/bench-gpu. Ends with 1 if a score, an AUROC or a verdict is not the same.
"""
import json
import os
import subprocess
import sys
from pathlib import Path

from demo import PROGRAM, ROOT, heading

WORK = ROOT / "target/bench-gpu"
DEVICE = os.environ.get("DEVICE") or "cuda:0"
IS_GPU = DEVICE != "cpu"
# Enough for the flow to be far from the identity that it starts as.
EPOCHS = 10 if IS_GPU else 2
PRECISIONS = ["f32", "tf32", "bf16", "f16"] if IS_GPU else ["f32", "bf16"]
# What counts as the same: the largest relative difference of a score, and of the AUROC.
SAME_SCORE = {"f32": 1e-4, "tf32": 0.01, "bf16": 0.01, "f16": 0.01}
SAME_AUROC = 0.001
# The exit code of a precision that is refused.
EX_CONFIG = 78


def main():
    data = Path(os.environ.get("DATA") or WORK / "data").resolve()
    WORK.mkdir(parents=True, exist_ok=True)
    if IS_GPU:
        # Card and driver stand above the figures, so that a log can be quoted.
        subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"])
    if not os.environ.get("DATA"):
        heading("drawing parts")
        csflowd("synth", "--train", 200, "--out", data)
    is_same = parity(data)
    speed()
    return 0 if is_same else 1


def parity(data):
    heading("parity: each precision against f32 on the CPU")
    print("| network | engine | largest difference of a score | AUROC moves by | verdicts that change |\n|---|---|---|---|---|")
    is_same = True
    for preset, options in presets():
        bundle = WORK / f"{preset}.csflow"
        csflowd("train", "--preset", preset, "--device", DEVICE, "--data", data, "--out", bundle, "--epochs", EPOCHS, *options,
                stderr=subprocess.DEVNULL)
        expected = evaluated(bundle, data, "cpu", "f32")
        for precision in PRECISIONS:
            found = evaluated(bundle, data, DEVICE, precision)
            if found is None:
                # Its sentence stands above: the bundle's own self-test finds the precision too coarse.
                print(f"| {preset} | {DEVICE}, {precision} | refused | | |", flush=True)
                continue
            apart, auroc, changed = compared(expected, found)
            print(f"| {preset} | {DEVICE}, {precision} | {100 * apart:.5f} % | {auroc:.5f} | {changed} |", flush=True)
            is_same &= apart <= SAME_SCORE[precision] and auroc <= SAME_AUROC and changed == 0
    print("" if is_same else "NOT THE SAME")
    return is_same


def presets():
    yield "lite", []
    yield "balanced", []
    if os.environ.get("B5"):
        yield "paper", ["--backbone-weights", os.environ["B5"]]
    else:
        print("bench-gpu: without B5=file there is no parity of paper", file=sys.stderr)


def evaluated(bundle, data, device, precision):
    """None if the precision is refused."""
    return asked("evaluate", "--bundle", bundle, "--data", data, "--device", device, "--precision", precision,
                 may_end_with=EX_CONFIG)


def compared(expected, found):
    pairs = list(zip(expected["images"], found["images"]))
    apart = max(abs(f.get("score", float("inf")) - e["score"]) / abs(e["score"]) for e, f in pairs)
    changed = sum(e["evaluation"] != f["evaluation"] for e, f in pairs)
    return apart, abs(found["auroc"] - expected["auroc"]), changed


def speed():
    heading("speed: frames of 1280x1024, from memory to verdict")
    print("| network | together | precision | by | p50, ms | p99, ms | frames/s | load, s |\n|---|---|---|---|---|---|---|---|")
    for preset in ["lite", "balanced", "paper"] if IS_GPU else ["lite"]:
        for batch in [1, 8]:
            for precision in PRECISIONS:
                for graphs in [["--no-graphs"], []] if IS_GPU else [[]]:
                    figures = asked("bench", "--preset", preset, "--device", DEVICE, "--precision", precision,
                                    "--batch", batch, "--runs", 200 if IS_GPU else 10, *graphs)
                    latency = figures["latency_ms"]
                    print(f"| {preset} | {batch} | {figures['precision']} | {figures['engine']} | {latency['p50']:.2f} "
                          f"| {latency['p99']:.2f} | {figures['frames_per_s']:.0f} | {figures['load_s']:.1f} |", flush=True)


def csflowd(*arguments, may_end_with=0, **options):
    done = subprocess.run([PROGRAM, *map(str, arguments)], **options)
    if done.returncode not in (0, may_end_with):
        sys.exit(f"bench-gpu: csflowd {arguments[0]} ended with exit code {done.returncode}")
    return done


def asked(*arguments, **options):
    done = csflowd(*arguments, "--json", stdout=subprocess.PIPE, text=True, **options)
    return json.loads(done.stdout) if done.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main())
