"""Models that learn to see what they hear: images from audio, supervised only by alignment."""

import os
from typing import TYPE_CHECKING, Any

# ONNX Runtime, which torchmetrics loads wherever it is installed, else reports to its makers.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = ["Model", "UserError", "load"]

if TYPE_CHECKING:
    from synesthete.errors import UserError
    from synesthete.generate import Model, load

_HOMES = {"load": "generate", "Model": "generate", "UserError": "errors"}


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is asked for: `import synesthete` alone needs no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'synesthete' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(f"synesthete.{_HOMES[name]}"), name)
