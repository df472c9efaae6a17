"""The `OTEL_*` variables: where traces go, which are sampled, how the process is called.

Their meaning is that of
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ and
https://opentelemetry.io/docs/specs/otel/protocol/exporter/. A value that cannot be
used is a warning in the log, and the default stands.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import unquote, urlsplit

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import ConsoleSpanExporter

from orchestrator.release import version
from orchestrator.telemetry.otlp import grpc_exporter, http_exporter
from orchestrator.telemetry.span import SCHEMA_URL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace.export import SpanExporter

logger: Final = logging.getLogger(__name__)

_OTLP: Final = "OTEL_EXPORTER_OTLP_"
_HTTP: Final = "http/protobuf"
_GRPC: Final = "grpc"
_DEFAULT_ENDPOINT: Final = {_HTTP: "http://localhost:4318", _GRPC: "http://localhost:4317"}

_QUEUE_SIZE: Final = 2048
_BATCH_SIZE: Final = 512
_SCHEDULE_DELAY_MS: Final = 5000

_SAMPLERS: Final[dict[str, tuple[bool, float | None]]] = {
    "always_on": (False, 1.0),
    "always_off": (False, 0.0),
    "traceidratio": (False, None),
    "parentbased_always_on": (True, 1.0),
    "parentbased_always_off": (True, 0.0),
    "parentbased_traceidratio": (True, None),
}
"""By name: whether a caller's decision comes first, and the ratio (None: the argument)."""


@dataclass(frozen=True, slots=True)
class Variables:
    """What the variables say.

    Attributes:
        kind: of the exporter: `otlp`, `console` or `none`.
        protocol: of OTLP: `http/protobuf` or `grpc`.
        target: the URL that is exported to.
        parent_based: whether a caller's decision comes first.
        ratio: share of the traces that begin here, 0..1; None: the config says.
        queue_size: spans that wait for their export, at most.
        batch_size: spans of one export, at most.
        schedule_delay_ms: between two exports.
        named: attributes of the process, by name.
    """

    kind: str
    protocol: str
    target: str
    parent_based: bool
    ratio: float | None
    queue_size: int
    batch_size: int
    schedule_delay_ms: int
    named: dict[str, str]

    @classmethod
    def off(cls) -> Self:
        """As if nothing were exported."""
        return cls.read({"OTEL_TRACES_EXPORTER": "none"})

    @classmethod
    def read(cls, env: Mapping[str, str]) -> Self:
        """Reads them; an empty one counts as not set."""
        kind = _kind(env)
        protocol, target = _target(env) if kind == "otlp" else ("", kind)
        parent_based, ratio = _sampler(env)
        queue_size = _count(env, "OTEL_BSP_MAX_QUEUE_SIZE", _QUEUE_SIZE)
        return cls(
            kind=kind if target else "none",
            protocol=protocol,
            target=target,
            parent_based=parent_based,
            ratio=ratio,
            queue_size=queue_size,
            batch_size=min(queue_size, _count(env, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", _BATCH_SIZE)),
            schedule_delay_ms=_count(env, "OTEL_BSP_SCHEDULE_DELAY", _SCHEDULE_DELAY_MS),
            named=_named(env),
        )

    def exporter(self) -> SpanExporter | None:
        """What exports; None: nothing is exported. Never raises.

        Its module is loaded only here: a process that exports nothing does not pay for it.
        """
        try:
            return self._exporter()
        except Exception as error:  # noqa: BLE001
            # Whatever it is (a file that is not there, a number that is none): a
            # process must not fail for its traces.
            logger.warning(
                "traces are not exported: the exporter for %s does not take its OTEL_EXPORTER_OTLP_* "
                "variables: %s: %s",
                self.target,
                type(error).__name__,
                error,
            )
            return None

    def resource(self, part: str, instance: str) -> Resource:
        """Who exports, as every span of the process tells it."""
        return Resource(
            {
                "service.name": "orchestrator",
                "service.version": version(),
                "service.instance.id": instance,
                "telemetry.sdk.language": "python",
                "telemetry.sdk.name": "opentelemetry",
                "orchestrator.part": part,
                **self.named,
            },
            SCHEMA_URL,
        )

    def _exporter(self) -> SpanExporter | None:
        if self.kind == "none":
            return None
        if self.kind == "console":
            return ConsoleSpanExporter(out=sys.stdout)
        return (grpc_exporter if self.protocol == _GRPC else http_exporter)(self.target)


def _kind(env: Mapping[str, str]) -> str:
    """`otlp` only where it is asked for, by name or by an endpoint."""
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return "none"
    given = env.get("OTEL_TRACES_EXPORTER", "").strip()
    if not given:
        return "otlp" if _first(env, "ENDPOINT")[1] else "none"
    if given not in {"otlp", "console", "none"}:
        _warn("OTEL_TRACES_EXPORTER", given, "otlp, console or none", "traces are not exported")
        return "none"
    return given


def _target(env: Mapping[str, str]) -> tuple[str, str]:
    """Protocol and URL; an empty URL: there is none that can be used."""
    name, protocol = _first(env, "PROTOCOL")
    protocol = protocol or _HTTP
    if protocol not in _DEFAULT_ENDPOINT:
        _warn(name, protocol, f"{_HTTP} or {_GRPC}", f"it is {_HTTP}")
        protocol = _HTTP
    name, given = _first(env, "ENDPOINT")
    try:
        parts = urlsplit(given)
        usable = not given or (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        usable = False
    if not usable and not (protocol == _GRPC and "://" not in given and ":" in given):
        _warn(name, given, "a URL such as http://collector:4318", "traces are not exported")
        return protocol, ""
    target = given or _DEFAULT_ENDPOINT[protocol]
    # Only the endpoint of all signals gets the path of this one.
    if protocol == _HTTP and name != f"{_OTLP}TRACES_ENDPOINT":
        target = f"{target.removesuffix('/')}/v1/traces"
    return protocol, target


def _first(env: Mapping[str, str], what: str) -> tuple[str, str]:
    """The variable that counts, and its value: that of traces, else that of all signals."""
    for name in (f"{_OTLP}TRACES_{what}", f"{_OTLP}{what}"):
        value = env.get(name, "").strip()
        if value:
            return name, value
    return f"{_OTLP}{what}", ""


def _sampler(env: Mapping[str, str]) -> tuple[bool, float | None]:
    """Whether a caller's decision comes first, and the ratio; None: the config's."""
    given = env.get("OTEL_TRACES_SAMPLER", "").strip()
    argument = env.get("OTEL_TRACES_SAMPLER_ARG", "").strip()
    if given and given not in _SAMPLERS:
        _warn(
            "OTEL_TRACES_SAMPLER",
            given,
            f"one of {', '.join(_SAMPLERS)}",
            "it is parentbased_traceidratio with the config's sampling_percent",
        )
        return True, None
    parent_based, ratio = _SAMPLERS[given or "parentbased_traceidratio"]
    if ratio is not None:
        return parent_based, ratio
    if not argument:
        # Named without an argument, the ratio is 1 by OpenTelemetry's specification.
        return parent_based, 1.0 if given else None
    try:
        ratio = float(argument)
    except ValueError:
        ratio = -1.0
    if not 0.0 <= ratio <= 1.0:
        _warn(
            "OTEL_TRACES_SAMPLER_ARG",
            argument,
            "a number from 0 to 1",
            "the config's sampling_percent stands",
        )
        return parent_based, None
    return parent_based, ratio


def _count(env: Mapping[str, str], name: str, default: int) -> int:
    given = env.get(name, "").strip()
    if not given:
        return default
    if given.isdecimal() and given.isascii() and int(given) > 0:
        return int(given)
    _warn(name, given, "a whole number above 0", f"it is {default}")
    return default


def _named(env: Mapping[str, str]) -> dict[str, str]:
    """Attributes from the environment; `OTEL_SERVICE_NAME` wins over the list."""
    named: dict[str, str] = {}
    given = env.get("OTEL_RESOURCE_ATTRIBUTES", "").strip()
    for item in filter(None, given.split(",")):
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            _warn(
                "OTEL_RESOURCE_ATTRIBUTES",
                given,
                "a list such as deployment.environment.name=staging,host.name=a",
                "it is left out",
            )
            return _service(env, {})
        named[key.strip()] = unquote(value.strip())
    return _service(env, named)


def _service(env: Mapping[str, str], named: dict[str, str]) -> dict[str, str]:
    service = env.get("OTEL_SERVICE_NAME", "").strip()
    return named | {"service.name": service} if service else named


def _warn(name: str, given: str, right: str, instead: str) -> None:
    logger.warning("%s is %r; it must be %s; %s", name, given, right, instead)
