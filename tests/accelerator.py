"""What a TPU would refuse in the program that XLA makes of a function.

XLA translates a graph before it knows for which device, apart from the few kernels that differ;
so what is in that translation on a CPU is what a TPU would be given.
"""

import re
from collections.abc import Callable
from typing import Any

import tensorflow as tf

# Calls out of a program that XLA itself replaces, on every device.
EXPANDED = {"Eigh", "LuDecomposition", "ProductOfElementaryHouseholderReflectors", "Qr"}
REFUSED = {
    "float64": r"\bf64\[",
    "complex128": r"\bc128\[",
    "dynamic shape": r"\[[^\]]*<=",
    "call to the host": r"\b(custom-call|infeed|outfeed|send|recv)\(",
}
UNSUPPORTED = "Detected unsupported operations"


def program(function: Callable, *arguments: Any) -> str:
    """The program that XLA is given for a function of these arguments, before it optimises."""
    compiled = tf.function(function, jit_compile=True, autograph=False)
    return compiled.experimental_get_compiler_ir(*arguments)(stage="hlo")


def refusals(function: Callable, *arguments: Any) -> list[str]:
    """What a TPU would refuse, and in which operation of the graph; nothing where all is well."""
    try:
        text = program(function, *arguments)
    except (ValueError, tf.errors.OpError) as error:
        if UNSUPPORTED not in str(error):
            raise
        return [f"unsupported operation: {str(error).splitlines()[0].split(UNSUPPORTED)[1]}"]
    found = {}
    for line in text.splitlines():
        for what, pattern in REFUSED.items():
            # Metadata quote names, which may look like anything.
            if re.search(pattern, line.split(", metadata=")[0]) and not _is_expanded(line):
                found[f"{what}: {_operation(line)}"] = None
    return list(found)


def _operation(line: str) -> str:
    """Name in the graph, or else the line itself."""
    name = re.search(r'op_name="([^"]*)"', line)
    return name.group(1) if name else line.strip()[:80]


def _is_expanded(line: str) -> bool:
    target = re.search(r'custom_call_target="([^"]*)"', line)
    return target is not None and target.group(1) in EXPANDED and "f64[" not in line
