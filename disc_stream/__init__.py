"""disc-stream: live activity labels from many wearables, learned without labels."""

import os

# From 1.29 on onnxruntime reports to its maker what models are run where, and keeps an id of the machine,
# unless this stands in the environment before it is loaded. Whoever wants it sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
