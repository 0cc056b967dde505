"""Settings of the services: frozen, validated once when they are read; unknown keys are refused."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from disc_stream.errors import ConfigError, InputNotFoundError


class RetrainConfig(BaseModel):
    """When a server retrains, with what limits, and how: the mapping ``retrain`` of its configuration.

    Without a trigger it makes the first model of an empty registry, and then only what is asked for by hand.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    every_h: float | None = Field(None, gt=0, le=8_784, title="Hours from one retraining to the next")
    at: str | None = Field(
        None, pattern=r"^([01]\d|2[0-3]):[0-5]\d$", title="Time of day (UTC) of those, HH:MM"
    )
    windows: int | None = Field(None, ge=1, title="New windows after which it retrains")
    devices: int | None = Field(None, ge=1, title="New devices after which it retrains")
    drift: bool = Field(False, title="Retrain when the fleet's motion has changed")
    min_windows: int = Field(1_000, ge=8, title="New windows without which it never retrains")
    cooldown_h: float = Field(6.0, ge=0, le=8_784, title="Hours after a retraining without another one")
    threads: int = Field(1, ge=1, title="Threads of a retraining")
    memory_mb: int = Field(4_096, ge=256, title="Memory of a retraining, in MiB")
    nice: int = Field(19, ge=0, le=19, title="Priority of a retraining below that of the server")
    gpu: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9,/:-]+$",
        title="GPU of a retraining",
        description="CUDA_VISIBLE_DEVICES, or none for no GPU; default: what the server sees",
    )
    grace_s: float = Field(10.0, gt=0, le=600, title="Seconds from asking it to stop to killing it")
    learn_windows: int = Field(20_000, ge=8, title="Windows to learn from, at most")
    half_life_days: float = Field(7.0, gt=0, title="Age at which windows count half")
    window_s: float = Field(2.56, ge=0.1, title="Length of windows, for a first model")
    method: str = Field("disc", pattern=r"^[a-z][a-z0-9-]*$", title="disc, dsc or disc-plus")
    preset: str = Field(
        "default",
        pattern=r"^[a-z][a-z0-9-]*$",
        title="Preset of the method; default: as in production, or its own",
    )
    settings: dict[str, Any] = Field(default_factory=dict, title="Settings that replace the preset's")
    clusters: Annotated[int, Field(ge=2, le=4_096)] | Literal["auto"] | None = Field(
        None,
        title="How many, or auto to find out; default: as many as in production, and one for each group of "
        "new motion; auto for a first model",
    )
    from_scratch: bool = Field(False, title="Do not go on from the weights in production")
    examples: bool = Field(
        True,
        title="Keep some windows of each cluster with a new version, for the dashboard",
        description="they are motion of the devices that were learned from",
    )
    seed: int = Field(0, ge=0, lt=2**32, title="Of everything random")
    keep_versions: int = Field(
        30,
        ge=0,
        title="Newest versions whose files stay in the registry after a retraining",
        description="beside the one in production, the one before, and those of labels that are kept",
    )
    sign: Path | None = Field(None, title="Private key to sign new versions with")

    @model_validator(mode="after")
    def _whole_days(self) -> Self:
        if self.at is not None and (self.every_h is None or self.every_h % 24):
            raise PydanticCustomError("at_of_day", "at needs whole days")
        return self

    @field_validator("settings")
    @classmethod
    def _named_as_options_are(cls, settings: dict[str, Any]) -> dict[str, Any]:
        if wrong := [name for name in settings if not name.isidentifier()]:
            raise PydanticCustomError("setting_name", "{name} is no name", {"name": repr(wrong[0])[:80]})
        return settings

    @property
    def watches(self) -> bool:
        """Whether anything but a person starts a retraining once there is a model."""
        return self.drift or any(value is not None for value in (self.every_h, self.windows, self.devices))


class HomeAssistantConfig(BaseModel):
    """How devices are told to Home Assistant; every field has a default that its users can bear."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    prefix: str = Field(
        "homeassistant",
        pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$",
        max_length=100,
        title="Discovery prefix, as set in Home Assistant",
    )
    dwell_s: float = Field(5.0, ge=0, le=3_600, title="Seconds that a new activity must stay")
    apart_s: float = Field(5.0, ge=5, le=3_600, title="Seconds between two states of a device, at least")
    heartbeat_s: float = Field(
        300.0, ge=60, le=86_400, title="Seconds after which an activity that holds is sent again"
    )


class WebhookConfig(BaseModel):
    """Where events are posted to, and how long that is tried."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    url: str = Field(max_length=2_000, title="https://… or, on this machine, http://…", repr=False)
    secret: Path = Field(title="File whose first line is the secret, as 'events secret' writes it")
    types: tuple[str, ...] = Field((), title="Types of events, such as episode.began; default all")
    devices: tuple[str, ...] = Field((), title="Devices, as patterns such as watch-*; default all")
    timeout_s: float = Field(10.0, gt=0, le=120, title="Seconds for an answer")
    give_up_h: float = Field(24.0, gt=0, le=720, title="Hours after which an event becomes a dead letter")


class EventsConfig(BaseModel):
    """Where events go: begins and ends of episodes, devices that come and go."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mqtt: bool = Field(True, title="Publish them on each device's event topic")
    webhooks: tuple[WebhookConfig, ...] = Field((), max_length=32, title="Webhooks")
    keep_days: float = Field(
        7.0, ge=1, le=365, title="Days that events are kept for those who did not get them"
    )


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
    adapt: bool | None = Field(
        None,
        title="The model's centroids follow each device, within bounds",
        description="null: where the model can, but for guided DISC",
    )
    provider: Literal["auto", "cpu", "cuda", "openvino", "openvino-bf16"] = Field(
        "auto",
        title="What runs the model",
        description="cpu and cuda are onnxruntime; auto takes the fastest at hand with the same labels",
    )
    threads: int | None = Field(None, ge=1, title="Threads of the encoder; default all processors it may use")
    http: str | None = Field("127.0.0.1:8765", title="Live page, HOST:PORT, or null for none")
    http_token: Path | None = Field(
        None, title="Live page's token", description="file whose first line viewers of the page need to know"
    )
    http_public: bool = Field(False, title="Other machines may see the live page without a token")
    http_hosts: tuple[str, ...] = Field((), title="Further names under which the live page answers")
    api_requests_s: float = Field(
        50.0,
        gt=0,
        title="Requests to the API per second of a client",
        description="a fifth as many changes; after silence, four seconds' worth at once",
    )
    metrics_bind: str | None = Field(
        None,
        title="HOST:PORT of /metrics alone, without a token",
        description="for a network that only Prometheus reaches; the live page serves /metrics, too",
    )
    metrics_devices: int = Field(
        0,
        ge=0,
        le=10_000,
        title="Devices with metrics of their own, those that were heard last; each is several series",
    )
    traces: str | None = Field(
        None, title="Collector of traces", description="URL of OTLP over HTTP, with the extra otel"
    )
    traces_share: float = Field(0.01, gt=0, le=1, title="Share of the windows that are traced")
    log_format: Literal["text", "json"] = Field("text", title="Form of log lines, on stderr")
    status_interval_s: float = Field(2.0, gt=0, title="Seconds between two status messages")
    memory_mb: int = Field(
        1024, ge=1, title="MiB of memory for both processes, which the bounds of all queues together respect"
    )
    max_devices: int = Field(20_000, ge=1, title="Devices in memory; the longest silent leaves it first")
    idle_s: float = Field(300.0, gt=0, title="Devices silent for so many seconds leave the memory")
    state: Path | None = Field(None, title="State folder", description="default: in the user's state folder")
    checkpoint_s: float = Field(
        5.0, gt=0, title="Seconds between two checkpoints; up to four times as many where they take long"
    )
    spool_file_bytes: int = Field(256 * 2**20, ge=2**20, title="Size from which the spool begins a new file")
    keep_days: float = Field(30.0, gt=0, title="Days that labelled messages are kept, for retraining")
    keep_bytes: int = Field(20 * 2**30, ge=2**20, title="Bytes of labelled messages that are kept")
    keep_devices_days: float = Field(
        90.0, gt=0, title="Days without a message after which what is known of a device is dropped"
    )
    keep_device_bytes: int = Field(2**30, ge=2**16, title="The same for each device")
    keep_dead_days: float = Field(30.0, gt=0, title="Days that messages which could not be used are kept")
    keep_episodes_days: float = Field(
        730.0, gt=0, title="Days that episodes are kept, also when their messages and labels have gone"
    )
    episode_dwell_s: float = Field(
        10.0, ge=0, le=3_600, title="Seconds of an activity that make an episode of it"
    )
    episode_hysteresis: float = Field(
        0.5, ge=0, le=1, title="Probability that a label needs to speak against what goes on"
    )
    episode_join_s: float = Field(60.0, ge=0, le=86_400, title="Seconds without data that end no episode")
    device_messages_s: float = Field(
        200.0, gt=0, title="Messages per second of a device; what exceeds it waits, and is taken later"
    )
    device_bytes_s: float = Field(262_144.0, gt=0, title="Bytes per second of a device, likewise")
    device_burst_s: float = Field(
        10.0,
        gt=0,
        title="After silence, a device may send at once what it may send in so many seconds",
        description="and no more bytes than a sixteenth of queue_bytes, or than a second's worth",
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
    retrain: RetrainConfig | None = Field(
        None, title="Retraining", description="a mapping: when, with what limits, how; see RetrainConfig"
    )

    home_assistant: HomeAssistantConfig | None = Field(
        None, title="Home Assistant", description="a mapping: where, how fast; see HomeAssistantConfig"
    )

    events: EventsConfig | None = Field(
        None, title="Events", description="a mapping: mqtt, webhooks; see EventsConfig"
    )

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
        if self.retrain is not None and self.models is None:
            raise PydanticCustomError("retrain_without_models", "a retraining needs a registry")
        return self


NESTED: dict[str, type[BaseModel]] = {
    "retrain": RetrainConfig,
    "home_assistant": HomeAssistantConfig,
    "events": EventsConfig,
}

# Message and remedy of what is wrong with settings together.
_OF_TOGETHER = {
    "missing_bundle": (
        "the setting 'bundle' is missing",
        "Give --bundle or --models, or put one into a --config file; --collect receives without a model",
    ),
    "bundle_and_collect": (
        "--collect and a bundle or a registry exclude each other",
        "Give --bundle or --models to label, --collect not to",
    ),
    "bundle_and_models": (
        "--bundle and --models exclude each other",
        "Give --models alone; disc-stream models add puts a bundle into the registry",
    ),
    "retrain_without_models": (
        "retraining needs a registry, which new versions go into",
        "Give --models; disc-stream models init makes one",
    ),
    "at_of_day": (
        "retraining at a time of day needs an interval of whole days",
        "Give --retrain-every-h 24, or another multiple of 24",
    ),
}


def default_state(client_id: str) -> Path:
    """Where a server keeps its spool and its state unless told otherwise (XDG base directories)."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "disc-stream" / re.sub(r"[^A-Za-z0-9_.-]", "_", client_id)


def load_serve_config(file: Path | None, options: Mapping[str, Any]) -> ServeConfig:
    """Settings from a YAML file and from the command line, which wins.

    Args:
        file: YAML with the names of ``ServeConfig`` as keys; None for no file.
        options: settings given on the command line, by the same names; ``retrain`` and ``home_assistant``
            are mappings of those that are given, and leave the file's others as they are.

    Raises:
        InputNotFoundError: if there is no such file.
        ConfigError: naming the key, and the file or the option, that is wrong.
    """
    read = _read_yaml(file) if file is not None else {}
    settings = {**read, **options}
    for name in NESTED:
        if isinstance(read.get(name), dict) and isinstance(options.get(name), Mapping):
            settings[name] = {**read[name], **options[name]}
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
    if problem["type"] in _OF_TOGETHER:
        message, remedy = _OF_TOGETHER[problem["type"]]
        return ConfigError(message, remedy=remedy)
    loc = problem["loc"]
    key = ".".join(str(part) for part in loc[: 2 if loc[0] in NESTED else 1])
    name = key.replace(".", "-").replace("_", "-")
    given = {f"retrain.{inner}" for inner in options.get("retrain") or ()} | set(options)
    where = f"option --{name}" if key in given or file is None else f"{key!r} in {str(file)!r}"
    match problem["type"]:
        case "extra_forbidden":
            known = ", ".join(NESTED.get(key.partition(".")[0], ServeConfig).model_fields)
            return ConfigError(f"unknown key {where}", remedy=f"Known: {known}")
        case "missing":
            option = f"--{key.replace('_', '-')}"
            return ConfigError(
                f"the setting {key!r} is missing", remedy=f"Give {option}, or put it into a --config file"
            )
        case _:
            return ConfigError(f"{where} is not usable: {problem['msg']}")
