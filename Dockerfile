# The image of enlarger: docs/how-to/container.md.
#
#   cpu     the service on CPUs, and the default
#   vulkan  the same, with what GPUs need
#
# BASE is Debian 12. Name a mirror of it, a digest, or a base of your own that has Debian's apt.
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS python
# Each stage needs python3, and only the build needs pip. Versions are those of Debian's stable release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf /var/log/apt /var/log/dpkg.log

FROM python AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/*
# One environment has pip, and installs into the other one, which has none.
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/enlarger
WORKDIR /source
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src src
# The secrets are optional: a pip.conf for another index, and the certificates that it needs, as /run/secrets/ca.
# Networks are built by calls, so of OpenVINO's front ends only `ir` is needed, which reads compiled networks from the
# cache. Its other devices need drivers that are not here.
# The bytecode that pip writes stays: the image starts faster with it, and its root cannot be written later.
ARG EXTRAS=postgresql,otel
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    /opt/pip/bin/pip --python /opt/enlarger/bin/python install ".[${EXTRAS}]" \
    && find /opt/enlarger/lib/python3*/site-packages/openvino/libs \
        \( -name '*intel_gpu*' -o -name '*intel_npu*' -o -name cache.json -o -name '*_frontend.so*' \) \
        ! -name '*_ir_frontend.so*' -delete

FROM build AS build-vulkan
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    /opt/pip/bin/pip --python /opt/enlarger/bin/python install ".[vulkan]"

FROM python AS runtime
ARG VERSION=unknown
LABEL org.opencontainers.image.title="enlarger" \
    org.opencontainers.image.description="Self-hosted image upscaling: Real-ESRGAN behind an async HTTP API" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.licenses="BSD-3-Clause AND Apache-2.0 AND MIT"
ENV PATH=/opt/enlarger/bin:$PATH \
    ENLARGER_CACHE_DIR=/var/cache/enlarger \
    UPLOAD_FOLDER=/var/lib/enlarger \
    MODEL_DIR=/models
# A number, so that Kubernetes sees that it is not root. Volumes that are made of these folders belong to it.
RUN install -d -o 10001 -g 10001 /var/cache/enlarger /var/lib/enlarger && install -d /models
USER 10001:10001
WORKDIR /var/lib/enlarger
VOLUME ["/var/cache/enlarger", "/var/lib/enlarger"]
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=2m \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["enlarger"]
CMD ["serve", "--host", "0.0.0.0"]

FROM runtime AS vulkan
USER 0:0
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libvulkan1 mesa-vulkan-drivers \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build-vulkan /opt/enlarger /opt/enlarger
USER 10001:10001

FROM runtime AS cpu
COPY --from=build /opt/enlarger /opt/enlarger
