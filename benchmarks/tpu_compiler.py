"""Compiles HLO with the TPU's own compiler, on a machine without a TPU: what `benchmarks/tpu_compile.py` calls.

    python benchmarks/tpu_compiler.py step.hlo v5e:2x2 v6e:2x2

It runs in the environment of `requirements-tpu-compiler.txt`. It prints one JSON object for each topology: either the
seconds of the compilation, the memory of one chip and the cost that the compiler estimates, or its error.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from typing import Any

os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # or it waits for the metadata server of a TPU machine

# TensorFlow's copy of a variable that is read. StableHLO has no such operation; a reshape to the same shape is one.
_COPIES = (
    (re.compile(r"mhlo\.copy (%\S+) : (tensor<[^>]*>)"), r"mhlo.reshape \1 : (\2) -> \2"),
    (
        re.compile(r'"mhlo\.copy"\((%\S+)\) (?:<\{[^}]*\}> )?: \((tensor<[^>]*>)\)'),
        r"mhlo.reshape \1 : (\2)",
    ),
)


def without_copies(module: str) -> str:
    """The text of a module with its copies replaced."""
    for pattern, replacement in _COPIES:
        module = pattern.sub(replacement, module)
    return module


def compiled(path: str, topology: str) -> dict[str, Any]:
    """What the compiler says of one file for one topology, of which one chip runs it."""
    from jax._src.interpreters import mlir
    from jax.experimental import topologies
    from jaxlib import xla_client
    from jaxlib.mlir import ir

    with open(path, "rb") as file:
        computation = xla_client.XlaComputation(file.read())
    text = without_copies(xla_client._xla.mlir.xla_computation_to_mlir_module(computation))
    device = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices[0]
    options = xla_client.CompileOptions()
    options.num_replicas = options.num_partitions = 1
    with mlir.make_ir_context():
        module = ir.Module.parse(text)
    began = time.time()
    try:
        executable = device.client.compile(module, xla_client.DeviceList((device,)), options)
    except Exception as error:  # whatever it is, its words are the result
        return {"topology": topology, "error": f"{type(error).__name__}: {error}"[:2000]}
    memory, cost = executable.get_compiled_memory_stats(), executable.cost_analysis()
    cost = cost[0] if isinstance(cost, list) else cost
    return {
        "topology": topology,
        "seconds": time.time() - began,
        "argument_bytes": memory.argument_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "flops": cost["flops"],
        "bytes_accessed": cost["bytes accessed"],
    }


if __name__ == "__main__":
    for name in sys.argv[2:]:
        print(json.dumps(compiled(sys.argv[1], name), allow_nan=False), flush=True)
