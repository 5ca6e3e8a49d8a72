"""Reads the pickle inside a PyTorch file without running it.

A pickle is a program. Here it runs on an interpreter that knows containers, numbers, texts and tensors;
whatever else it asks for is refused by name. The elements of the tensors lie outside the pickle and are
read by weights.py.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from typing import Any, BinaryIO, Callable, NamedTuple


class Refused(Exception):
    """The input is not what it should be; the text says what is wrong."""


class Dtype(NamedTuple):
    name: str  # as safetensors writes it
    size: int  # bytes of one element


DTYPES = {
    "DoubleStorage": Dtype("F64", 8),
    "FloatStorage": Dtype("F32", 4),
    "HalfStorage": Dtype("F16", 2),
    "BFloat16Storage": Dtype("BF16", 2),
    "LongStorage": Dtype("I64", 8),
    "IntStorage": Dtype("I32", 4),
    "ShortStorage": Dtype("I16", 2),
    "CharStorage": Dtype("I8", 1),
    "ByteStorage": Dtype("U8", 1),
    "BoolStorage": Dtype("BOOL", 1),
}


@dataclass
class Storage:
    """A flat run of elements. The old format names storages first and delivers their bytes at the end."""

    key: str
    dtype: Dtype
    count: int
    data: memoryview | None = None


class Tensor(NamedTuple):
    """A view of a storage; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Global(NamedTuple):
    """A name that the pickle asked for; nothing is ever imported."""

    name: str


ORDERED_DICT = Global("collections.OrderedDict")
REBUILD_TENSOR = Global("torch._utils._rebuild_tensor_v2")
REBUILD_PARAMETER = Global("torch._utils._rebuild_parameter")
ALLOWED = {ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, *(Global(f"torch.{name}") for name in DTYPES)}

MARK = object()
CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "MARK": lambda: MARK,
}
LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "SHORT_BINSTRING", "BINSTRING"),
}


class Unpickler:
    """Interprets the opcodes that a state dict needs, and no others."""

    def __init__(self, load_storage: Callable[[Any], Storage]) -> None:
        self.load_storage = load_storage
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def load(self, file: BinaryIO) -> Any:
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name == "STOP":
                return self.stack.pop()
            self.step(opcode.name, argument)
        raise ValueError("the pickle has no end")

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in ("PROTO", "FRAME"):
            return
        if name in CONSTANTS:
            stack.append(CONSTANTS[name]())
        elif name in LITERALS:
            stack.append(argument)
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple(self.pop(int(name[-1]))))
        elif name == "TUPLE":
            stack.append(tuple(self.pop_to_mark()))
        elif name in ("APPEND", "APPENDS"):
            items = self.pop(1) if name == "APPEND" else self.pop_to_mark()
            stack[-1].extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self.pop(2) if name == "SETITEM" else self.pop_to_mark()
            stack[-1].update(zip(items[::2], items[1::2]))
        elif name == "GLOBAL":
            stack.append(find(argument.replace(" ", ".")))
        elif name == "STACK_GLOBAL":
            stack.append(find(".".join(self.pop(2))))
        elif name == "BINPERSID":
            stack.append(self.load_storage(stack.pop()))
        elif name == "REDUCE":
            callee, arguments = self.pop(2)
            stack.append(call(callee, arguments))
        elif name == "BUILD":
            # Attributes of a module or an ordered dict (`_metadata`): not needed.
            stack.pop()
        else:
            raise Refused(f"the file uses the pickle opcode {name}, which no state dict needs")

    def pop(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError("its stack runs empty")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def pop_to_mark(self) -> list[Any]:
        items = []
        while (item := self.stack.pop()) is not MARK:
            items.append(item)
        return items[::-1]


def find(name: str) -> Global:
    if Global(name) not in ALLOWED:
        raise Refused(f"the file asks for {name}")
    return Global(name)


def call(callee: Any, arguments: tuple[Any, ...]) -> Any:
    if callee == ORDERED_DICT:
        return dict(*arguments)
    if callee == REBUILD_PARAMETER:
        return arguments[0]
    if callee == REBUILD_TENSOR:
        storage, offset, shape, stride = arguments[:4]
        numbers = (offset, *shape, *stride)
        if not isinstance(storage, Storage) or len(shape) != len(stride):
            raise TypeError("a tensor is described wrongly")
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise TypeError("a tensor's offset, shape or stride is no count")
        return Tensor(storage, offset, tuple(shape), tuple(stride))
    raise Refused("the file calls something that is no tensor and no ordered dict")


class Storages(dict):
    """The storages that the pickle names, by key."""

    def load(self, persistent_id: Any) -> Storage:
        tag, kind, key, _location, count = persistent_id[:5]
        if tag != "storage":
            raise Refused(f"the file holds a {tag}, not a state dict alone")
        if not isinstance(kind, Global) or not kind.name.endswith("Storage") or type(count) is not int or count < 0:
            raise TypeError("a storage is described wrongly")
        if len(persistent_id) > 5 and persistent_id[5] is not None:
            raise Refused("the file holds storages that are views of others; save it again with a newer PyTorch")
        return self.setdefault(key, Storage(str(key), DTYPES[kind.name[len("torch.") :]], count))
