# Trivet on the CPU. For a GPU, build with --build-arg BASE=nvidia/cuda:12.8.1-base-ubuntu24.04 and run with --gpus all.
ARG BASE=debian:12-slim

FROM ${BASE} AS build
RUN apt-get update \
 && apt-get install --no-install-recommends -y python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
RUN python3 -m venv /app/.venv
COPY pyproject.toml constraints.txt README.md LICENSE app.py ./
COPY trivet trivet
COPY deployments deployments
RUN /app/.venv/bin/pip install --no-cache-dir -c constraints.txt .

FROM ${BASE} AS run
RUN apt-get update \
 && apt-get install --no-install-recommends -y python3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 10001 trivet
WORKDIR /app
COPY --from=build /app/.venv /app/.venv
COPY --chown=trivet serve_config.yaml app.py ./
COPY --chown=trivet configs configs
# Converted models are in a volume, so that a new container does not convert them again.
RUN mkdir /models && chown trivet /models
VOLUME /models
ENV PATH=/app/.venv/bin:$PATH TRIVET_CACHE=/models RAY_USAGE_STATS_ENABLED=0
USER 10001
EXPOSE 8000
# Ray keeps its object store in /dev/shm: run with --shm-size=1g.
STOPSIGNAL SIGINT
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
CMD ["trivet", "serve", "configs/container.yaml"]
