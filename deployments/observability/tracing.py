"""Exports the spans of Serve's tracing to an OTLP collector. Used only if `tracing_config` in the Serve file names it.

    tracing_config:
      enabled: true
      exporter_import_path: deployments.observability.tracing:otlp
      sampling_ratio: 0.1

Serve opens a span for each request in the ingress and in every replica that it calls, and propagates the context,
including a caller's `traceparent`. Spans contain routes, deployments and request ids, but no text of a request.
OpenTelemetry's variables (`OTEL_EXPORTER_OTLP_ENDPOINT` and others) in the environment of Ray's processes set the
collector. Only Serve imports this module: the exporter is an extra (`pip install trivet[traces]`).
"""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # type: ignore[import-not-found, unused-ignore]
    OTLPSpanExporter,
)
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def otlp() -> list[SpanProcessor]:
    """Return the span processors; Serve calls this once in each of its processes."""
    return [BatchSpanProcessor(OTLPSpanExporter())]
