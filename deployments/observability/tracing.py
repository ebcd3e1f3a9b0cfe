"""Where the spans of Serve's own tracing go: an OTLP collector. Off unless `tracing_config` in the Serve file names it.

    tracing_config:
      enabled: true
      exporter_import_path: deployments.observability.tracing:otlp
      sampling_ratio: 0.1

Serve opens a span for each request in the ingress and in every replica it calls, and hands the context on, that of a
caller's `traceparent` too. Spans name routes, deployments and request ids, and hold no text of a request.
The collector is set by OpenTelemetry's own variables, `OTEL_EXPORTER_OTLP_ENDPOINT` and the like, in the environment
of Ray's processes. Imported by nobody but Serve: the exporter is an extra (`pip install trivet[traces]`).
"""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # type: ignore[import-not-found, unused-ignore]
    OTLPSpanExporter,
)
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def otlp() -> list[SpanProcessor]:
    """Called by Serve once in each of its processes."""
    return [BatchSpanProcessor(OTLPSpanExporter())]
