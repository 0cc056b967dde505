"""The client for programs that wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from disc_stream.client.shared import (
    ApiError,
    Events,
    Missed,
    UnreachableError,
    checked,
    labels_in,
    load_httpx,
    log,
    log_missed,
    missed_in,
    settings,
    waits,
    wanted,
)


class Client:
    """Asks a server's API.

    Args:
        url: of the server, such as ``http://127.0.0.1:8765``.
        token: that ``disc-stream token add`` made; None for a server that needs none.
        on_missed: is told of labels that ``labels`` could not give; by default the log is.

    Raises:
        ConfigError: if the address is none.
        MissingExtraError: if the extra ``client`` is not installed.
        ApiError: from any method, if the server refuses.
        UnreachableError: likewise, if it does not answer.
    """

    def __init__(
        self, url: str, token: str | None = None, *, on_missed: Callable[[Missed], None] | None = None
    ) -> None:
        self._library = load_httpx()
        self._http = self._library.Client(**settings(url, token))
        self._url, self._on_missed = url, on_missed or log_missed

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def request(
        self, method: str, path: str, *, json: Any = None, params: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:  # fmt: skip
        """Any request; ``path`` is below ``/api/v1``. Its JSON, or bytes where the answer is another file."""
        try:
            answer = self._http.request(method, path, json=json, params=params, headers=headers)
        except self._library.TransportError as error:
            raise self._unreachable(error) from error
        checked(answer, answer.content)
        is_json = answer.headers.get("content-type", "").startswith("application/json")
        return answer.json() if is_json else answer.content

    def pages(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        """All items of a list, page by page as they are asked for."""
        while True:
            page = self.request("GET", path, params=params)
            yield from page["items"]
            if page["next"] is None:
                return
            params["cursor"] = page["next"]

    # -- what is asked most -----------------------------------------------------------------------------

    def health(self) -> dict[str, Any]:
        """Whether messages become labels now, and the server's numbers."""
        return dict(self.request("GET", "/health"))

    def devices(
        self, *, tag: str | None = None, cluster: int | None = None, facts: bool = False
    ) -> Iterator[dict[str, Any]]:
        """All devices as they are now; with ``facts`` also how their samples come."""
        query = wanted(tag=tag, cluster=cluster, limit=1_000, facts=facts or None)
        return self.pages("/devices", **query)

    def explanation(self, device: str) -> dict[str, Any]:
        """The last window of a device, the clusters nearest to it, and the training windows most like it.

        Its ``window`` is None until the device's next one: ask again in a second or two.
        """
        return dict(self.request("GET", f"/devices/{device}/explanation"))

    def examples(self, cluster: int) -> dict[str, Any]:
        """Training windows at the centre and at the border of a cluster."""
        return dict(self.request("GET", f"/clusters/{cluster}/examples"))

    def episodes(
        self, device: str, *, since_us: int | None = None, until_us: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """What a device did from when to when, in the order of time."""
        query = wanted(**{"from": since_us}, until=until_us, limit=1_000)
        return self.pages(f"/devices/{device}/episodes", **query)

    def past_labels(
        self, device: str, *, since_us: int | None = None, until_us: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Labels of a device's windows, in the order of time."""
        query = wanted(**{"from": since_us}, until=until_us, limit=1_000)
        return self.pages(f"/devices/{device}/labels", **query)

    def clusters(self, *, retired: bool = False) -> Iterator[dict[str, Any]]:
        """The clusters."""
        return self.pages("/clusters", retired=retired, limit=1_000)

    def name_cluster(self, cluster: int, name: str) -> dict[str, Any]:
        """Give a cluster a name."""
        return dict(self.request("PATCH", f"/clusters/{cluster}", json={"name": name}))

    def set_tags(self, device: str, tags: Sequence[str]) -> dict[str, Any]:
        """Replace the tags of a device."""
        return dict(self.request("PUT", f"/devices/{device}/tags", json={"tags": list(tags)}))

    def retrain(self, why: str) -> dict[str, Any]:
        """Ask for a retraining."""
        return dict(self.request("POST", "/retraining", json={"why": why}))

    def labels(
        self, *, device: str | Sequence[str] | None = None, tag: str | None = None, cluster: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Labels as they come, for ever.

        When the connection breaks it is made again, and what was missed comes first; a label may come twice
        then. Ends only with an error that does not pass, such as a token that was revoked.

        Args:
            device: only those of this one, or of these.
            tag: only those of devices with this tag.
            cluster: only those of this public id.
        """
        query, events, pauses = wanted(device=device, tag=tag, cluster=cluster), Events(), waits()
        while True:
            try:
                for event in self._events(query, events):
                    pauses = waits()
                    if (missed := missed_in(event)) is not None:
                        self._on_missed(missed)
                    yield from labels_in(event)
            except ApiError as error:
                if not error.may_pass:
                    raise
            except self._library.TransportError as error:
                log.info("the live feed of %s has broken off: %s", self._url, error)
            time.sleep(next(pauses))

    def _events(self, query: dict[str, Any], events: Events) -> Iterator[tuple[str, Any]]:
        headers = {"last-event-id": events.mark} if events.mark else {}
        with self._http.stream("GET", "/live", params=query, headers=headers) as answer:
            if answer.status_code >= 400:
                checked(answer, answer.read())
            for line in answer.iter_lines():
                if (event := events.take(line)) is not None:
                    yield event

    def _unreachable(self, error: Exception) -> UnreachableError:
        return UnreachableError(
            f"no server answers at {self._url} ({error})",
            remedy="Check the address, and that `serve` runs there",
        )
