"""Write the servers' configuration files, with comments; a test checks that they are up to date.

::

    python deploy/config/make.py

``config/serve.yaml`` is what an installation begins with: it receives and keeps everything until it is given
a model. In ``compose`` and ``kubernetes`` the server follows a registry, which is empty at first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from disc_stream.config import ServeConfig
from disc_stream.configfile import commented_config

DEPLOY = Path(__file__).resolve().parents[1]
_CONTAINER: dict[str, Any] = {
    "models": "/models",
    "state": "/var/lib/disc-stream/state",
    "http": "0.0.0.0:8765",
    "http_token": "/credentials/page-token",
    "metrics_bind": "0.0.0.0:9464",
    "log_format": "json",
}
_URL = "mqtts://_server@{host}:8885?ca=/credentials/ca.crt&password-file=/credentials/broker-password"
FILES: dict[str, dict[str, Any]] = {
    "config/serve.yaml": {"collect": True, "log_format": "text", "metrics_bind": "127.0.0.1:9464"},
    "compose/serve.yaml": {**_CONTAINER, "broker": _URL.format(host="mosquitto")},
    "kubernetes/base/serve.yaml": {**_CONTAINER, "broker": _URL.format(host="mosquitto")},
}
"""What each file sets; everything else is shown with its default."""


def text(file: str) -> str:
    """The content of one of the files."""
    return commented_config(ServeConfig.model_validate(FILES[file])) + "\n"


if __name__ == "__main__":
    for file in FILES:
        (DEPLOY / file).write_text(text(file), encoding="utf-8")
