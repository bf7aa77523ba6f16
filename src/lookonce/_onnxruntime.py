"""ONNX Runtime with its telemetry off. No other module of the package imports ONNX Runtime.

Since 1.32 it uploads the name of each model, the program's path and run counts. The environment variable that
switches this off must be set before the library is loaded; `lookonce/__init__.py` sets it, so child processes
have it too. The call below covers a program that imported ONNX Runtime first.
"""

import onnxruntime as ort

ort.disable_telemetry_events()
__all__ = ["ort"]
