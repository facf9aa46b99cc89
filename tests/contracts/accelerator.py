"""A second device without hardware: what is on it refuses what CUDA refuses, and has the CPU's arithmetic.

It takes the place of torch's device type ``lazy``, of which autograd asks no driver. Autocast does not exist on it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("lazy", 0)
aten = torch.ops.aten
COPIES = (aten._to_copy.default, aten.copy_.default)
INDEXING = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default)


class DeviceTensor(Tensor):
    """A tensor on the device: ``held`` is its content, on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> DeviceTensor:
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        wrapper = Tensor._make_wrapper_subclass(cls, held.size(), device=DEVICE, **layout)
        wrapper.held = held
        return wrapper

    def __repr__(self) -> str:
        return f"DeviceTensor({self.held})"

    def tolist(self) -> Any:  # which torch refuses for a subclass
        return self.detach().cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Factories(TorchDispatchMode):
    """Sees calls without a tensor on the device, too: ``torch.zeros(3, device=DEVICE)``."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


@contextlib.contextmanager
def accelerator() -> Iterator[torch.device]:
    """The device, which exists inside."""
    autocast, is_enabled = torch.autocast, torch.is_autocast_enabled

    def autocast_of(device_type: str, *args: Any, **kwargs: Any) -> Any:
        return contextlib.nullcontext() if device_type == DEVICE.type else autocast(device_type, *args, **kwargs)

    def is_enabled_for(*device_type: str) -> bool:
        return device_type != (DEVICE.type,) and is_enabled(*device_type)

    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(torch, "autocast", autocast_of))
        stack.enter_context(mock.patch.object(torch, "is_autocast_enabled", is_enabled_for))
        # Checkpointing looks for the device's module.
        stack.enter_context(mock.patch.object(torch, "lazy", SimpleNamespace(_initialized=False), create=True))
        # ``torch.tensor(..., device=DEVICE)`` is then made on the CPU and copied, a call that modes see.
        torch._C._set_only_lift_cpu_tensors(True)
        stack.callback(torch._C._set_only_lift_cpu_tensors, False)
        stack.enter_context(_Factories())
        yield DEVICE


def _run(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """``func`` on what the arguments hold; its result is on the device if theirs are, or if that was asked for."""
    leaves = tree_leaves((args, kwargs))
    here = [leaf for leaf in leaves if isinstance(leaf, DeviceTensor)]
    elsewhere = [leaf for leaf in leaves if isinstance(leaf, Tensor) and not isinstance(leaf, DeviceTensor)]
    asked = kwargs.get("device")
    stays = bool(here) if asked is None else torch.device(asked).type == DEVICE.type
    if not here and not stays:
        return func(*args, **kwargs)
    if stays and any(isinstance(leaf, torch.Generator) for leaf in leaves):
        raise RuntimeError(f"{func} draws on the accelerator with a generator of the CPU")
    if here and elsewhere and not _may_mix(func, args, kwargs, elsewhere):
        raise RuntimeError(f"{func} mixes tensors of the accelerator with tensors of the CPU")

    def held(leaf: Any) -> Any:
        return leaf.held if isinstance(leaf, DeviceTensor) else leaf

    given = dict(tree_map(held, kwargs))
    if stays and asked is not None:
        given["device"] = torch.device("cpu")
    result = func(*tree_map(held, args), **given)
    if func is aten.copy_.default:
        return args[0]
    if not stays:
        return result
    known = {id(tensor.held): tensor for tensor in here}  # in place: the result is an argument

    def wrapped(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return known[id(leaf)] if id(leaf) in known else DeviceTensor(leaf)

    return return_and_correct_aliasing(func, args, kwargs, tree_map(wrapped, result))


def _may_mix(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], elsewhere: Sequence[Tensor]) -> bool:
    """What CUDA takes from the CPU: copies, indices, and numbers in pointwise operations on its own tensors."""
    if func in COPIES:
        return True
    if func in INDEXING:
        values = args[2] if len(args) > 2 else args[0]
        return isinstance(args[0], DeviceTensor) and (isinstance(values, DeviceTensor) or values.ndim == 0)
    written = [
        a for a, spec in zip(args, func._schema.arguments, strict=False) if spec.alias_info and spec.alias_info.is_write
    ]
    written += [kwargs[name] for name in ("out",) if name in kwargs]
    pointwise = torch.Tag.pointwise in func.tags or func is aten.fill_.Tensor
    return pointwise and all(t.ndim == 0 for t in elsewhere) and all(isinstance(t, DeviceTensor) for t in written)
