#!/usr/bin/env python3
"""Tests of weights.py. The model files are made as torch.save makes them, with stand-ins for torch's names."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import sys
import tempfile
import types
import unittest
import zipfile
from collections import OrderedDict
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import weights

FORMATS = ("legacy", "zip")
CODES = {"Double": "d", "Float": "f", "Half": "e", "BFloat16": "H", "Long": "q", "Int": "i", "Byte": "B", "Bool": "?"}


def fake_torch() -> types.ModuleType:
    """A `torch` with just the names that a pickled state dict refers to."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2(*_: Any) -> None:
        raise AssertionError("only its name is pickled")

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    for kind in (*CODES, "ComplexFloat"):
        name = f"{kind}Storage"
        setattr(torch, name, type(name, (), {"__module__": "torch", "__qualname__": name}))
    sys.modules["torch"], sys.modules["torch._utils"] = torch, utils
    torch._utils = utils
    return torch


TORCH = fake_torch()


class Storage:
    def __init__(self, kind: str, values: list[Any]) -> None:
        self.kind, self.values = kind, values
        self.key = str(id(self))

    def data(self) -> bytes:
        return struct.pack(f"<{len(self.values)}{CODES[self.kind]}", *self.values)


class Tensor:
    def __init__(self, values: Any, shape: tuple[int, ...], stride: Any = None, offset: int = 0, kind: str = "Float"):
        self.storage = values if isinstance(values, Storage) else Storage(kind, values)
        packed = tuple(weights.math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
        self.view = (offset, shape, stride or packed, False, OrderedDict())

    def __reduce__(self) -> Any:
        return TORCH._utils._rebuild_tensor_v2, (self.storage, *self.view)


def save(content: Any, form: str, protocol: int = 2) -> bytes:
    """What torch.save would write."""
    storages: dict[str, Storage] = {}

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            if not isinstance(obj, Storage):
                return None
            storages[obj.key] = obj
            kind = getattr(TORCH, f"{obj.kind}Storage")
            view = (None,) if form == "legacy" else ()
            return ("storage", kind, obj.key, "cpu", len(obj.values), *view)

    body = io.BytesIO()
    Pickler(body, protocol).dump(content)
    out = io.BytesIO()
    if form == "zip":
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("archive/data.pkl", body.getvalue())
            archive.writestr("archive/byteorder", "little")
            for key, storage in storages.items():
                archive.writestr(f"archive/data/{key}", storage.data())
        return out.getvalue()
    for head in (weights.LEGACY_MAGIC, weights.LEGACY_PROTOCOL, {"little_endian": True}):
        out.write(pickle.dumps(head, 2))
    out.write(body.getvalue())
    out.write(pickle.dumps(sorted(storages), 2))
    for key in sorted(storages):
        out.write(struct.pack("<q", len(storages[key].values)) + storages[key].data())
    return out.getvalue()


class Malicious:
    def __reduce__(self) -> Any:
        return os.system, ("echo owned",)


class Weights(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.source, self.target = Path(folder.name, "model.pth"), Path(folder.name, "model.safetensors")

    def convert(self, data: bytes, prefix: str = "") -> dict[str, tuple[str, list[int], bytes]]:
        """Converts, reads the result back: name to type, shape and bytes."""
        self.source.write_bytes(data)
        weights.convert(self.source, self.target, prefix)
        written = self.target.read_bytes()
        (length,) = struct.unpack("<Q", written[:8])
        self.assertEqual(length % 8, 0)
        header, body = json.loads(written[8 : 8 + length]), written[8 + length :]
        self.metadata = header.pop("__metadata__")
        ends = sorted(entry["data_offsets"] for entry in header.values())
        self.assertEqual([a for a, _ in ends], [0, *(b for _, b in ends)][: len(ends)], "no holes between tensors")
        self.assertEqual(ends[-1][1], len(body))
        return {
            name: (entry["dtype"], entry["shape"], body[slice(*entry["data_offsets"])])
            for name, entry in header.items()
        }

    def refused(self, data: bytes, text: str) -> None:
        with self.assertRaisesRegex(weights.Refused, text):
            self.convert(data)
        self.assertEqual([self.source], list(self.source.parent.iterdir()), "nothing is left behind")

    def test_both_formats_and_old_and_new_pickles_come_through_bit_by_bit(self) -> None:
        content = OrderedDict(
            {
                "conv.weight": Tensor([float(n) for n in range(12)], (3, 4)),
                "scalar": Tensor([0.5], ()),
                "empty": Tensor([1.0], (0, 3)),
                "half": Tensor([1.5, -2.0], (2,), kind="Half"),
                "bfloat": Tensor([0x3F80, 0xC000], (2,), kind="BFloat16"),
                "double": Tensor([0.1], (1,), kind="Double"),
                "index": Tensor([-3, 7], (2,), kind="Long"),
                "bn.num_batches_tracked": Tensor([9], (), kind="Long"),
            }
        )
        content._metadata = OrderedDict({"": {"version": 1}})
        for form in FORMATS:
            for protocol in (2, 4):
                with self.subTest(form=form, protocol=protocol):
                    data = save(content, form, protocol)
                    tensors = self.convert(data)
                    self.assertEqual(tensors["conv.weight"], ("F32", [3, 4], struct.pack("<12f", *range(12))))
                    self.assertEqual(tensors["scalar"], ("F32", [], struct.pack("<f", 0.5)))
                    self.assertEqual(tensors["empty"], ("F32", [0, 3], b""))
                    self.assertEqual(tensors["half"], ("F16", [2], struct.pack("<2e", 1.5, -2.0)))
                    self.assertEqual(tensors["bfloat"], ("BF16", [2], struct.pack("<2H", 0x3F80, 0xC000)))
                    self.assertEqual(tensors["double"], ("F64", [1], struct.pack("<d", 0.1)))
                    self.assertEqual(tensors["index"], ("I64", [2], struct.pack("<2q", -3, 7)))
                    self.assertNotIn("bn.num_batches_tracked", tensors)
                    sha256 = weights.hashlib.sha256(data).hexdigest()
                    self.assertEqual(self.metadata, {"source": "model.pth", "sha256": sha256})

    def test_views_are_made_contiguous(self) -> None:
        storage = Storage("Float", [float(n) for n in range(120)])
        shapes = {
            "all": ((2, 3, 4, 5), (60, 20, 5, 1), 0),
            "transposed": ((5, 4, 3, 2), (1, 5, 20, 60), 0),
            "mixed": ((4, 5, 2, 3), (5, 1, 60, 20), 0),
            "part": ((2, 3), (20, 3), 7),
            "repeated": ((3, 4), (0, 2), 100),
            "constant": ((2, 2), (0, 0), 5),
        }
        content = {name: Tensor(storage, shape, stride, offset) for name, (shape, stride, offset) in shapes.items()}
        for form in FORMATS:
            tensors = self.convert(save(content, form))
            for name, (shape, stride, offset) in shapes.items():
                indices = weights.itertools.product(*map(range, shape))
                expected = [float(offset + sum(i * s for i, s in zip(index, stride))) for index in indices]
                self.assertEqual(tensors[name][2], struct.pack(f"<{len(expected)}f", *expected), f"{form} {name}")

    def test_a_wheel_gives_the_model_inside_it(self) -> None:
        for form in FORMATS:
            wheel = io.BytesIO()
            with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("package/__init__.py", "")
                archive.writestr("package/model.pth", save({"w": Tensor([1.0], (1,))}, form))
            self.assertEqual(list(self.convert(wheel.getvalue())), ["w"])

    def test_a_checkpoint_is_unwrapped_and_a_prefix_cut_off(self) -> None:
        inner = {"module.a": Tensor([1.0], (1,)), "head": Tensor([2.0], (1,))}
        for key in ("state_dict", "model"):
            data = save({"epoch": 3, "loss": 0.25, key: inner}, "zip")
            self.assertEqual(set(self.convert(data)), {"module.a", "head"})
            self.assertEqual(set(self.convert(data, "module.")), {"a"})
        with self.assertRaisesRegex(weights.Refused, "no tensor whose name starts with 'x.'"):
            self.convert(data, "x.")

    def test_a_pickle_that_asks_for_anything_else_is_refused_by_name(self) -> None:
        for form in FORMATS:
            self.refused(save({"w": Malicious()}, form), r"the file asks for (os|posix|nt)\.system")
            self.refused(save({"w": TORCH.ComplexFloatStorage}, form), "asks for torch.ComplexFloatStorage")
            self.refused(save({"w": 1}, form), "w is no tensor")
            self.refused(save([1], form), "no state dict")
            self.refused(save({}, form), "no tensors")

    def test_calls_without_an_allowed_name_are_refused(self) -> None:
        with self.assertRaisesRegex(weights.Refused, "calls something"):
            weights.Unpickler(lambda _: None).load(io.BytesIO(b"\x80\x02U\x01x)R."))
        with self.assertRaisesRegex(weights.Refused, "opcode INST"):
            weights.Unpickler(lambda _: None).load(io.BytesIO(b"(U\x01xios\nsystem\n."))

    def test_a_file_cut_short_anywhere_is_refused(self) -> None:
        for form in FORMATS:
            data = save({"a": Tensor([1.0, 2.0, 3.0], (3,)), "b": Tensor([4], (1,), kind="Long")}, form)
            for length in range(len(data)):
                self.refused(data[:length], "")

    def test_flipped_bytes_never_end_in_a_crash(self) -> None:
        for form in FORMATS:
            data = save({"a": Tensor([1.0, 2.0, 3.0], (3,)), "b": Tensor([4], (1,), kind="Long")}, form)
            for at in range(len(data)):
                try:
                    self.convert(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
                except weights.Refused:
                    pass

    def test_a_tensor_beyond_its_storage_is_refused(self) -> None:
        for form in FORMATS:
            for shape, stride, offset in [((4,), (1,), 0), ((3,), (1,), 1), ((2,), (3,), 0), ((9**9,), (0,), 0)]:
                self.refused(save({"w": Tensor([1.0, 2.0, 3.0], shape, stride, offset)}, form), "w reaches beyond")

    def test_nan_and_infinity_are_refused_by_name(self) -> None:
        nan, inf = float("nan"), float("inf")
        cases = [("Float", nan), ("Float", -inf), ("Double", nan), ("Half", inf), ("BFloat16", 0x7FC0)]
        for form in FORMATS:
            for kind, value in cases:
                data = save({"good": Tensor([1.0], (1,)), "bad": Tensor([1, value], (2,), kind=kind)}, form)
                self.refused(data, "^bad holds NaN or infinity$")

    def test_files_of_other_kinds_are_refused(self) -> None:
        for data in (b"", b"hello", b"\x08\0\0\0\0\0\0\0{}      ", pickle.dumps({"w": 1}, 2), pickle.dumps(5, 0)):
            self.refused(data, "no file that torch.save wrote")
        other = io.BytesIO()
        with zipfile.ZipFile(other, "w") as archive:
            archive.writestr("readme.txt", "")
        self.refused(other.getvalue(), "holds no PyTorch model")

    def test_the_command_says_what_is_wrong_and_keeps_the_old_file(self) -> None:
        self.target.write_text("old")
        self.source.write_bytes(save({"w": Malicious()}, "zip"))
        for source, text in [(self.source, "refused: the file asks for"), (Path("none.pth"), "none.pth: ")]:
            errors = io.StringIO()
            with redirect_stderr(errors):
                self.assertEqual(weights.main([str(source), str(self.target)]), 66)
            self.assertIn(text, errors.getvalue())
            self.assertEqual(self.target.read_text(), "old")
        self.source.write_bytes(save({"w": Tensor([1.0], (1,))}, "zip"))
        said = io.StringIO()
        with redirect_stdout(said), redirect_stderr(said):
            self.assertEqual(weights.main([str(self.source), str(self.target)]), 0)
            self.assertEqual(weights.main([str(self.source), "/nowhere/x.safetensors"]), 74)
        self.assertIn("1 tensors from model.pth", said.getvalue())


if __name__ == "__main__":
    unittest.main()
