#!/usr/bin/env python3
"""The main job, from nothing to verdicts: draw parts, train, judge them as a line would, count.

    make demo               on drawn parts
    make demo DATA=dir      on your own pictures, in the layout of MVTec AD

Standard library only. Everything it makes is in target/demo.
"""
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "target/release/csflowd"
WORK = ROOT / "target/demo"
PREFIX = "demo/site/area/line1/cell1"
PARTS = 200
RATE_HZ = 5
IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
EVALUATION = {0: "not inspected", 1: "OK", 2: "not OK", 3: "not decidable"}

STATION = """
[station]
name = "demo"
product = "demo"
state_dir = "state"

[mqtt]
port = {port}
prefix = "{prefix}"

[[camera]]
id = "top"
pipeline = "{pipeline}"
stall_s = 10

[camera.source]
kind = "files"
folder = "parts"
rate_hz = {rate}
"""


def main():
    data = Path(os.environ.get("DATA") or WORK / "data").resolve()
    WORK.mkdir(parents=True, exist_ok=True)
    if not os.environ.get("DATA"):
        heading("drawing parts")
        csflowd("synth", "--train", 400, "--out", data)
    heading("training on the good parts")
    bundle = WORK / "demo.csflow"
    csflowd("train", "--preset", "lite", "--data", data, "--out", bundle)
    parts = choose_parts(data)
    heading(f"judging {len(parts)} parts, {RATE_HZ} a second")
    verdicts, counters, status = run_line(len(parts))
    return 0 if summary(parts, verdicts, counters, status) else 1


def heading(text):
    print(f"\n== {text}", flush=True)


def csflowd(*arguments):
    code = subprocess.run([PROGRAM, *map(str, arguments)]).returncode
    if code != 0:
        sys.exit(code)


def choose_parts(data):
    """Copies up to PARTS test images into one folder, named by their class. Returns {name: class}."""
    images = sorted(p for p in (data / "test").glob("*/*") if p.suffix.lower() in IMAGES)
    if not images:
        sys.exit(f"{data}/test: no images; the demo needs test/good and test/<defect>")
    random.Random(1).shuffle(images)
    folder = WORK / "parts"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    parts = {}
    for number, image in enumerate(images[:PARTS]):
        # The number keeps the order; the file's name becomes the part id, which takes 64 plain characters.
        plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in image.parent.name)
        name = f"{number:03d}-{plain[:40]}{image.suffix}"
        shutil.copyfile(image, folder / name)
        parts[name] = image.parent.name
    return parts


def run_line(expected):
    port = free_port()
    shutil.rmtree(WORK / "state", ignore_errors=True)
    pipeline = ROOT / "pipelines/files.launch"
    (WORK / "csflowd.toml").write_text(STATION.format(port=port, prefix=PREFIX, pipeline=pipeline, rate=RATE_HZ))
    (WORK / "products").mkdir(exist_ok=True)
    (WORK / "products/demo.toml").write_text(f'bundle = "{WORK}/demo.csflow"\n')
    (WORK / "mosquitto.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n")
    processes = []
    try:
        broker = start(processes, "mosquitto", "-c", WORK / "mosquitto.conf",
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_port(broker, port)
        subscriber = start(processes, "mosquitto_sub", "-p", port, "-t", f"{PREFIX}/#", "-F", "%t %p",
                           stdout=subprocess.PIPE, text=True)
        line = Subscriber(subscriber.stdout)
        daemon = start(processes, PROGRAM, "run", "--config", WORK / "csflowd.toml", "--log", "warn")
        if daemon.wait() != 0:
            sys.exit(f"csflowd ended with exit code {daemon.returncode}")
        line.wait(expected)
        return line.verdicts, line.counters, line.status
    finally:
        for process in reversed(processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait()


def start(processes, *command, **options):
    process = subprocess.Popen([str(word) for word in command], **options)
    processes.append(process)
    return process


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(broker, port):
    for _ in range(100):
        if broker.poll() is not None:
            sys.exit("mosquitto did not start: run `mosquitto -c target/demo/mosquitto.conf` to see why")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    sys.exit("mosquitto does not answer on its port")


class Subscriber:
    """What the PLC and the operator see."""

    def __init__(self, stream):
        self.verdicts, self.counters, self.status = [], None, None
        self.changed = threading.Condition()
        self.stream = stream
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.stream:
            topic, payload = line.rstrip("\n").split(" ", 1)
            leaf = topic.rsplit("/", 1)[1]
            with self.changed:
                if leaf == "verdict":
                    self.verdicts.append(json.loads(payload))
                    print(payload, flush=True)
                elif leaf == "counters":
                    self.counters = json.loads(payload)
                elif leaf == "status":
                    self.status = json.loads(payload)
                self.changed.notify()

    def wait(self, expected):
        """The daemon has gone; what it said last may still be under way."""
        with self.changed:
            self.changed.wait_for(
                lambda: len(self.verdicts) >= expected and self.status and self.status["state"] == "OFFLINE", 5)


def summary(parts, verdicts, counters, status):
    by_part = {}
    for verdict in verdicts:
        by_part.setdefault(verdict.get("part"), []).append(verdict)
    once = sum(len(by_part.get(part, [])) == 1 for part in parts)
    counts = {text: sum(v["ev"] == ev for v in verdicts) for ev, text in EVALUATION.items()}
    good = [v for v in verdicts if parts.get(v.get("part")) == "good"]
    bad = [v for v in verdicts if parts.get(v.get("part"), "good") != "good"]
    overkill, escapes = sum(v["ev"] == 2 for v in good), sum(v["ev"] == 1 for v in bad)
    latency = sorted(v["lat_ms"] for v in verdicts)
    at = lambda share: latency[min(len(latency) - 1, int(share * len(latency)))] if latency else float("nan")
    heading("summary")
    print(f"parts shown      {len(parts)}, each with exactly one verdict: {once}")
    print(f"triggers         {counters['triggers'] if counters else '?'} = "
          + " + ".join(f"{n} {text}" for text, n in counts.items()))
    print(f"overkill         {overkill} of {len(good)} good parts rejected")
    print(f"escapes          {escapes} of {len(bad)} defective parts passed")
    print(f"capture to publish   p50 {at(0.5):.1f} ms, p99 {at(0.99):.1f} ms")
    balanced = counters is not None and counters["triggers"] == len(verdicts) == len(parts) == once
    if not balanced:
        print("the account does not balance")
    return balanced


if __name__ == "__main__":
    sys.exit(main())
