"""Settings of the services: frozen, validated once when they are read; unknown keys are refused."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from disc_stream.errors import ConfigError, InputNotFoundError


class ServeConfig(BaseModel):
    """All settings of ``disc-stream serve``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bundle: Path | None = Field(None, title="Bundle", description="folder or zip of the model")
    models: Path | None = Field(
        None,
        title="Registry",
        description="folder of a registry of models, whose version in production serves",
    )
    follow_s: float = Field(1.0, gt=0, le=60, title="Seconds between two looks at the registry")
    collect: bool = Field(
        False, title="Collect only", description="receive and keep messages without a model"
    )
    broker: str = Field(
        "mqtt://127.0.0.1:1883", title="Broker", description="mqtt[s]://[user@]host[:port]", repr=False
    )
    trusted_key: tuple[Path, ...] | None = Field(
        None,
        title="Trusted keys",
        description="PEM file of an Ed25519 public key, or a list of them, one of which must have signed the "
        "bundle",
    )
    prefix: str = Field("ds/v1", title="Topic prefix")
    client_id: str = Field("disc-stream-server", title="MQTT client id, fixed so that nothing is lost")
    session_expiry_s: int = Field(86_400, ge=0, title="Seconds the broker keeps our queue while we are away")
    receive_maximum: int = Field(1_000, ge=1, le=65_535, title="Unacknowledged messages in flight to us")
    max_payload_bytes: int = Field(262_144, ge=256, title="Larger payloads are rejected undecoded")
    max_batch: int = Field(256, ge=1, title="Windows encoded at once")
    max_delay_ms: float = Field(5.0, ge=0, le=1000, title="Longest wait for messages to commit together")
    top_k: int = Field(3, ge=1, title="Soft labels in each message")
    stay: float = Field(0.8, gt=0, lt=1, title="Probability of staying in an activity, for smoothing")
    adapt: bool = Field(False, title="The model's centroids follow each device, within bounds")
    provider: Literal["auto", "cpu", "cuda"] = Field("auto", title="onnxruntime execution provider")
    threads: int | None = Field(None, ge=1, title="Threads of the encoder; default all cores")
    http: str | None = Field("127.0.0.1:8765", title="Live page, HOST:PORT, or null for none")
    http_token: Path | None = Field(
        None, title="Live page's token", description="file whose first line viewers of the page need to know"
    )
    http_public: bool = Field(False, title="Other machines may see the live page without a token")
    http_hosts: tuple[str, ...] = Field((), title="Further names under which the live page answers")
    status_interval_s: float = Field(2.0, gt=0, title="Seconds between two status messages")
    max_devices: int = Field(20_000, ge=1, title="Devices in memory; the longest silent leaves it first")
    idle_s: float = Field(300.0, gt=0, title="Devices silent for so many seconds leave the memory")
    state: Path | None = Field(None, title="State folder", description="default: in the user's state folder")
    checkpoint_s: float = Field(5.0, gt=0, title="Seconds between two checkpoints")
    spool_file_bytes: int = Field(256 * 2**20, ge=2**20, title="Size from which the spool begins a new file")
    keep_days: float = Field(30.0, gt=0, title="Days that labelled messages are kept, for retraining")
    keep_bytes: int = Field(20 * 2**30, ge=2**20, title="Bytes of labelled messages that are kept")
    keep_devices_days: float = Field(
        90.0, gt=0, title="Days without a message after which what is known of a device is dropped"
    )
    keep_device_bytes: int = Field(2**30, ge=2**16, title="The same for each device")
    keep_dead_days: float = Field(30.0, gt=0, title="Days that messages which could not be used are kept")
    device_messages_s: float = Field(
        200.0, gt=0, title="Messages per second of a device; what exceeds it waits, and is taken later"
    )
    device_bytes_s: float = Field(262_144.0, gt=0, title="Bytes per second of a device, likewise")
    device_burst_s: float = Field(
        10.0, gt=0, title="After silence, a device may send at once what it may send in so many seconds"
    )
    device_waiting_bytes: int = Field(
        64 * 2**20, ge=2**16, title="Bytes that may wait of a device; further messages of it are refused"
    )
    queue_bytes: int = Field(
        16 * 2**20, ge=2**16, title="Bytes of windows that may wait for the encoder, of all devices"
    )
    reorder: int = Field(32, ge=0, title="Batches of a device that may wait for a missing one")
    reorder_s: float = Field(5.0, gt=0, title="Longest wait for a missing batch, in seconds")
    bridge_s: float = Field(
        0.0, ge=0, le=10, title="Gaps up to this many seconds are filled by straight lines"
    )
    stale_s: float = Field(
        30.0, gt=0, title="With a backlog, the labels of windows older than this many seconds are deferred"
    )
    shutdown_s: float = Field(10.0, gt=0, title="Deadline of a graceful stop")

    @field_validator("trusted_key", mode="before")
    @classmethod
    def _one_key_or_several(cls, value: Any) -> Any:
        if value is not None and not value:
            raise PydanticCustomError("no_key", "name at least one key, or leave it out")
        return (value,) if isinstance(value, str | Path) else value

    @model_validator(mode="after")
    def _bundle_or_collect(self) -> Self:
        if self.bundle is None and self.models is None and not self.collect:
            raise PydanticCustomError("missing_bundle", "a model is needed")
        if self.collect and (self.bundle is not None or self.models is not None):
            raise PydanticCustomError("bundle_and_collect", "a model labels what is received")
        if self.bundle is not None and self.models is not None:
            raise PydanticCustomError("bundle_and_models", "there can be one model at a time")
        return self


def default_state(client_id: str) -> Path:
    """Where a server keeps its spool and its state unless told otherwise (XDG base directories)."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "disc-stream" / re.sub(r"[^A-Za-z0-9_.-]", "_", client_id)


def load_serve_config(file: Path | None, options: Mapping[str, Any]) -> ServeConfig:
    """Settings from a YAML file and from the command line, which wins.

    Args:
        file: YAML with the names of ``ServeConfig`` as keys; None for no file.
        options: settings given on the command line, by the same names.

    Raises:
        InputNotFoundError: if there is no such file.
        ConfigError: naming the key, and the file or the option, that is wrong.
    """
    settings = {**(_read_yaml(file) if file is not None else {}), **options}
    try:
        return ServeConfig.model_validate(settings)
    except ValidationError as error:
        raise _first_problem(error, file, options) from None


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputNotFoundError(
            f"configuration file {str(file)!r} does not exist", remedy="Check the path"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read configuration file {str(file)!r}: {error}") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where is not None else ""
        raise ConfigError(
            f"{str(file)!r} is not valid YAML{line}", remedy="Use lines of `key: value`"
        ) from error
    if settings is None:
        return {}
    if not isinstance(settings, dict) or not all(isinstance(key, str) for key in settings):
        raise ConfigError(f"{str(file)!r} does not hold settings", remedy="Use lines of `key: value`")
    return settings


def _first_problem(error: ValidationError, file: Path | None, options: Mapping[str, Any]) -> ConfigError:
    """One line about one setting; the value itself is not shown, it may hold a password."""
    problems = error.errors(include_input=False, include_url=False)
    # A mistyped key also leaves the right one missing: it is the mistyped one that helps.
    problem = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    match problem["type"]:
        case "missing_bundle":
            return ConfigError(
                "the setting 'bundle' is missing",
                remedy="Give --bundle or --models, or put one into a --config file; --collect receives "
                "without a model",
            )
        case "bundle_and_collect":
            return ConfigError(
                "--collect and a bundle or a registry exclude each other",
                remedy="Give --bundle or --models to label, --collect not to",
            )
        case "bundle_and_models":
            return ConfigError(
                "--bundle and --models exclude each other",
                remedy="Give --models alone; disc-stream models add puts a bundle into the registry",
            )
    key = str(problem["loc"][0])
    where = (
        f"option --{key.replace('_', '-')}" if key in options or file is None else f"{key!r} in {str(file)!r}"
    )
    match problem["type"]:
        case "extra_forbidden":
            known = ", ".join(ServeConfig.model_fields)
            return ConfigError(f"unknown key {where}", remedy=f"Known: {known}")
        case "missing":
            option = f"--{key.replace('_', '-')}"
            return ConfigError(
                f"the setting {key!r} is missing", remedy=f"Give {option}, or put it into a --config file"
            )
        case _:
            return ConfigError(f"{where} is not usable: {problem['msg']}")
