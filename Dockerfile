# Trivet on the CPU: docker build -t trivet . && docker run --rm --shm-size=1g -p 127.0.0.1:8000:8000 trivet
# For a GPU, build with --build-arg BASE=nvidia/cuda:12.8.1-base-ubuntu24.04 and run with --gpus all.
ARG BASE=debian:12-slim

FROM ${BASE} AS build
# Another index for torch, such as that of its CPU builds: the usual build brings some gigabytes of CUDA libraries.
ARG TORCH_INDEX=
RUN apt-get update \
 && apt-get install --no-install-recommends -y python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
RUN python3 -m venv /app/.venv
COPY pyproject.toml constraints.txt README.md LICENSE app.py serve_config.yaml ./
COPY trivet trivet
COPY deployments deployments
RUN /app/.venv/bin/pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"} -c constraints.txt '.[serve,int8]'

FROM ${BASE} AS run
RUN apt-get update \
 && apt-get install --no-install-recommends -y python3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 10001 trivet
WORKDIR /app
COPY --from=build /app/.venv /app/.venv
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
# A serve_config.yaml that is mounted at /app/serve_config.yaml takes the place of the defaults.
CMD ["trivet", "serve", "--host", "0.0.0.0"]
