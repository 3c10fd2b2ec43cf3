"""OpenVINO, kept from what it does beside computing: telling its makers, and giving threads stacks that it takes away."""

import sys
from functools import cache
from typing import Any


def openvino() -> Any:
    """Return the library; raises ImportError where it is not installed.

    Its converter, and nncf, would tell their makers of each conversion, from a fork of this process, under a number that they
    keep in the home folder. Without the package that does it they tell nobody, so it is not found.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # "None" is how an import is made to fail
    import openvino

    return openvino


@cache
def core() -> Any:
    """Return the one core of this process, which is never closed.

    Its CPU plugin gives the thread that first compiles a stack for signals. Of several cores that are not closed in the
    reverse order, one leaves a stack that is gone, and the next signal kills the process.
    """
    return openvino().Core()


def compiled(model: Any, config: dict[str, str]) -> Any:
    """Compile a model, or what lies in a file, for the CPU; `config` are OpenVINO's properties."""
    return core().compile_model(model, "CPU", config)
