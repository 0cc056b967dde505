"""Settings of the services: frozen, checked once at the boundary, nothing unknown allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ServeConfig(BaseModel):
    """Everything ``disc-stream serve`` can be told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: Path = Field(title="Bundle", description="folder or zip of the model")
    broker: str = Field(title="Broker", description="mqtt[s]://[user@]host[:port]", repr=False)
    prefix: str = Field("ds/v1", title="Topic prefix")
    client_id: str = Field("disc-stream-server", title="MQTT client id, fixed so that nothing is lost")
    session_expiry_s: int = Field(86_400, ge=0, title="Seconds the broker keeps our queue while we are away")
    receive_maximum: int = Field(1_000, ge=1, le=65_535, title="Unacknowledged messages in flight to us")
    max_payload_bytes: int = Field(262_144, ge=256, title="Larger payloads are rejected undecoded")
    max_batch: int = Field(256, ge=1, title="Windows encoded at once")
    max_delay_ms: float = Field(5.0, ge=0, title="Longest wait for further windows to encode together")
    top_k: int = Field(3, ge=1, title="Soft labels in each message")
    stay: float = Field(0.8, gt=0, lt=1, title="Probability of staying in an activity, for smoothing")
    provider: Literal["auto", "cpu", "cuda"] = Field("auto", title="onnxruntime execution provider")
    threads: int | None = Field(None, ge=1, title="Threads of the encoder; default all cores")
    http: str | None = Field("127.0.0.1:8765", title="Live page, HOST:PORT, or null for none")
    status_interval_s: float = Field(2.0, gt=0, title="Seconds between two status messages")
    max_devices: int = Field(20_000, ge=1, title="Devices remembered; the longest silent is forgotten first")
    shutdown_s: float = Field(10.0, gt=0, title="Deadline of a graceful stop")
