"""Networks in this process, through OpenVINO."""

import sys

# Importing openvino sends usage data, from a process that it forks and that may hang for ever. It does
# without if this package of its own is not installed, and that is what it finds here. Nor do we convert
# models of other frameworks.
for name in ("openvino_telemetry", "openvino.tools.ovc"):
    sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None means: not there
