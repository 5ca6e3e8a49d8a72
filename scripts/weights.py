#!/usr/bin/env python3
"""Turns a PyTorch state dict into safetensors, with Python's standard library alone.

    weights.py IN.pth|IN.whl OUT.safetensors [--prefix NAME.]

IN is what `torch.save` wrote, in the old or the zip format, or a wheel that holds one such file.
Nothing in IN is executed: see torch_pickle.py.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import json
import math
import os
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any, Iterator

from torch_pickle import Dtype, Refused, Storage, Storages, Tensor, Unpickler

ZIP_MAGIC = b"PK\x03\x04"
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
# The pickle describes tensors, it does not hold them: B5's is 0.2 MB.
MAX_PICKLE_BYTES = 64 << 20
# What the standard library, and the interpreter of the pickle, say of bytes that make no sense.
DAMAGE = (
    *(AttributeError, EOFError, LookupError, NotImplementedError, OverflowError, RuntimeError),
    *(TypeError, ValueError, zipfile.BadZipFile, zlib.error),
)
# A memoryview copies elements of these sizes, whatever they mean.
WORDS = {1: "B", 2: "H", 4: "I", 8: "Q"}


# --- the two file formats --------------------------------------------------------------------------


def read(data: bytes) -> Any:
    """What `torch.save` put into `data`, or into the one model file of a wheel."""
    try:
        return read_model(model_in_wheel(data) or data)
    except DAMAGE as error:
        raise Refused(f"it is cut short or damaged ({error})") from error


def model_in_wheel(data: bytes) -> bytes | None:
    if not data.startswith(ZIP_MAGIC):
        return None
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        models = [entry for entry in archive.namelist() if entry.endswith((".pth", ".pt"))]
        return archive.read(models[0]) if len(models) == 1 else None


def read_model(data: bytes) -> Any:
    if not data.startswith(ZIP_MAGIC):
        return read_legacy(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return read_zip(archive)


def read_zip(archive: zipfile.ZipFile) -> Any:
    entries = {info.filename: info for info in archive.infolist()}
    pickles = [name for name in entries if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise Refused("it is an archive, but holds no PyTorch model")
    folder = pickles[0][: -len("data.pkl")]
    if f"{folder}byteorder" in entries and archive.read(f"{folder}byteorder") != b"little":
        raise Refused("it was written on a big-endian machine")
    if entries[pickles[0]].file_size > MAX_PICKLE_BYTES:
        raise Refused(f"its pickle is larger than {MAX_PICKLE_BYTES >> 20} MiB")

    storages = Storages()
    content = Unpickler(storages.load).load(io.BytesIO(archive.read(pickles[0])))
    for storage in storages.values():
        info = entries.get(f"{folder}data/{storage.key}")
        if info is None:
            raise Refused(f"storage {storage.key} is missing")
        if info.file_size != storage.count * storage.dtype.size:
            raise Refused(f"storage {storage.key} has {info.file_size} bytes, not {storage.count * storage.dtype.size}")
        storage.data = memoryview(archive.read(info))
    return content


def read_legacy(data: bytes) -> Any:
    file = io.BytesIO(data)
    plain = Unpickler(lambda _: refuse("the file's head refers to a storage"))
    try:
        magic = plain.load(file)
    except (Refused, *DAMAGE):
        magic = None
    if magic != LEGACY_MAGIC:
        raise Refused("it is no file that torch.save wrote")
    if plain.load(file) != LEGACY_PROTOCOL:
        raise Refused(f"its protocol is not {LEGACY_PROTOCOL}")
    if plain.load(file).get("little_endian") is not True:
        raise Refused("it was written on a big-endian machine")

    storages = Storages()
    content = Unpickler(storages.load).load(file)
    for key in plain.load(file):
        if key not in storages:
            raise Refused(f"storage {key} belongs to no tensor, so its size is unknown")
        storage = storages[key]
        head = file.read(8)
        n_bytes = storage.count * storage.dtype.size
        start = file.tell()
        if len(head) < 8 or start + n_bytes > len(data):
            raise Refused(f"it is cut short in storage {key}")
        if int.from_bytes(head, "little") != storage.count:
            raise Refused(f"storage {key} does not have the {storage.count} elements it should")
        storage.data = memoryview(data)[start : start + n_bytes]
        file.seek(n_bytes, io.SEEK_CUR)
    return content


def refuse(reason: str) -> Storage:
    raise Refused(reason)


# --- from what was saved to named tensors ----------------------------------------------------------


def state_dict(content: Any, prefix: str) -> dict[str, Tensor]:
    """The named tensors, without the counters that only training needs."""
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise Refused("it holds no state dict")
    named = {}
    for name, value in content.items():
        if not isinstance(name, str) or name == "__metadata__" or not name.isprintable():
            raise Refused(f"{name!r} is no tensor name")
        if name.startswith(prefix) and not name.endswith("num_batches_tracked"):
            if not isinstance(value, Tensor):
                raise Refused(f"{name} is no tensor; only a state dict can be converted")
            named[name[len(prefix) :]] = value
    if not named:
        raise Refused(f"it holds no tensor whose name starts with {prefix!r}" if prefix else "it holds no tensors")
    return named


def contiguous(name: str, tensor: Tensor) -> memoryview:
    """The tensor's bytes with the last dimension running fastest."""
    storage, offset, shape, stride = tensor
    if storage.data is None:
        raise Refused(f"the storage of {name} is missing")
    size = storage.dtype.size
    count = math.prod(shape)
    if count == 0:
        return memoryview(b"")
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride))
    # More elements than the storage holds would be a broadcast view: a small file could ask for any memory.
    if last >= storage.count or count > storage.count:
        raise Refused(f"{name} reaches beyond its storage")
    packed = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    if all(n == 1 or a == b for n, a, b in zip(shape, stride, packed)):
        return storage.data[offset * size : (offset + count) * size]

    source = storage.data.cast(WORDS[size])
    target = memoryview(bytearray(count * size)).cast(WORDS[size])
    # The longest axis is copied by strided slices, the others are walked.
    longest = max(range(len(shape)), key=lambda axis: shape[axis] if stride[axis] else 0)
    n, step_in, step_out = shape[longest], max(stride[longest], 1), packed[longest]
    if stride[longest] == 0:
        n = 1
    others = [range(length) for axis, length in enumerate(shape) if axis != longest or n == 1]
    steps_in = [step for axis, step in enumerate(stride) if axis != longest or n == 1]
    steps_out = [step for axis, step in enumerate(packed) if axis != longest or n == 1]
    for index in itertools.product(*others):
        a = offset + sum(i * step for i, step in zip(index, steps_in))
        b = sum(i * step for i, step in zip(index, steps_out))
        target[b : b + (n - 1) * step_out + 1 : step_out] = source[a : a + (n - 1) * step_in + 1 : step_in]
    return target.cast("B")


def finite(dtype: Dtype, data: memoryview) -> bool:
    if dtype.name in ("F32", "F64"):
        return all(map(math.isfinite, data.cast("f" if dtype.size == 4 else "d")))
    exponent = {"F16": 0x7C00, "BF16": 0x7F80}.get(dtype.name)
    # There are only 65,536 different ones.
    return exponent is None or all(bits & exponent != exponent for bits in set(data.cast("H")))


# --- safetensors -----------------------------------------------------------------------------------


def safetensors(tensors: dict[str, Tensor], metadata: dict[str, str]) -> Iterator[bytes | memoryview]:
    """The file's pieces in order. Wide elements come first, so that each tensor lies aligned."""
    header: dict[str, Any] = {"__metadata__": metadata}
    bodies, end = [], 0
    for name in sorted(tensors, key=lambda name: (-tensors[name].storage.dtype.size, name)):
        tensor = tensors[name]
        body = contiguous(name, tensor)
        if not finite(tensor.storage.dtype, body):
            raise Refused(f"{name} holds NaN or infinity")
        offsets = [end, end + len(body)]
        header[name] = {"dtype": tensor.storage.dtype.name, "shape": tensor.shape, "data_offsets": offsets}
        bodies.append(body)
        end += len(body)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little")
    yield text
    yield from bodies


def convert(source: Path, target: Path, prefix: str = "") -> int:
    """Writes `target` whole or not at all; returns the number of tensors."""
    data = source.read_bytes()
    tensors = state_dict(read(data), prefix)
    metadata = {"source": source.name, "sha256": hashlib.sha256(data).hexdigest()}
    pieces = list(safetensors(tensors, metadata))
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return len(tensors)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="PyTorch state dict to safetensors")
    parser.add_argument("source", metavar="IN", type=Path, help="a .pth file, or a wheel that holds one")
    parser.add_argument("target", metavar="OUT", type=Path, help="the .safetensors file to write")
    parser.add_argument("--prefix", default="", help="take only names that start so, and cut it off (module.)")
    options = parser.parse_args(arguments)
    try:
        count = convert(options.source, options.target, options.prefix)
    except Refused as error:
        print(f"weights.py: {options.source}: refused: {error}", file=sys.stderr)
        return 66
    except OSError as error:
        print(f"weights.py: {error.filename or options.target}: {error.strerror}", file=sys.stderr)
        return 66 if error.filename == str(options.source) else 74
    print(f"{options.target}: {count} tensors from {options.source.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
