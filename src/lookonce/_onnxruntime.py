"""ONNX Runtime with its telemetry off. Nothing else in the package imports the runtime.

Since 1.32 it queues the name of each model, the program's path and run counts, and uploads them. The variable
must be set before the library is loaded (the package's `__init__` does it, so every process has it); the call
covers a program that imported ONNX Runtime first.
"""

import onnxruntime as ort

ort.disable_telemetry_events()
__all__ = ["ort"]
