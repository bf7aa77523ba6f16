"""ONNX Runtime with its telemetry off. No other module of the package imports ONNX Runtime.

Since 1.32, it uploads the name of each model, the program's path and numbers of runs. The environment
variable that turns this off must be set before the library is loaded; `lookonce/__init__.py` sets it, also
for child processes. The call below is for programs that import ONNX Runtime before lookonce.
"""

import onnxruntime as ort

ort.disable_telemetry_events()
__all__ = ["ort"]
