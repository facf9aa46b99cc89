"""Tensors as bytes."""

from __future__ import annotations

import io
from typing import Any

import torch


def serialised(state: dict[str, Any]) -> memoryview:
    """What ``torch.save`` writes of ``state``. Writing a file itself, torch reports a full disk as a format's fault."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getbuffer()
