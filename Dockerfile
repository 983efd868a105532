# The relay's image. docs/deploy.md has the commands for Docker and buildah, and what an instance needs.
#
#   docker build -t relay .
#
# Both stages start from the same base: the virtual environment made in the first points at the second's Python.
ARG BASE=docker.io/library/python:3.13-slim-bookworm

FROM ${BASE} AS build
WORKDIR /build
RUN python3 -m venv tools && python3 -m venv --without-pip /opt/relay

# Dependencies come as wheels with pinned hashes, so nothing is compiled and nothing new slips in. They have a layer of
# their own: it stays cached until a lock file changes. `--secret id=pip.conf,src=…` lets a build use a private index.
COPY deploy/build.lock deploy/requirements.lock ./
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    tools/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r build.lock \
    && tools/bin/pip --python /opt/relay/bin/python install \
        --no-cache-dir --only-binary :all: --require-hashes -r requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY relay relay
RUN tools/bin/pip wheel --no-cache-dir --no-index --no-deps --no-build-isolation --wheel-dir wheels . \
    && tools/bin/pip --python /opt/relay/bin/python install --no-cache-dir --no-index --no-deps wheels/*.whl \
    && /opt/relay/bin/relay --version

# What is in it, for whoever has to know (CycloneDX): read from what was installed, after everything was.
RUN tools/bin/cyclonedx-py environment --output-reproducible --of JSON -o /opt/relay/sbom.cdx.json /opt/relay/bin/python

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="relay" \
      org.opencontainers.image.description="A WebSocket relay for Google's Gemini Live API" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/relay/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# Programs that run as root whoever starts them are of no use to the relay.
RUN find / -xdev -type f -perm /6000 -exec chmod a-s {} +
COPY --from=build /opt/relay /opt/relay
COPY deploy/relay.yaml /etc/relay/relay.yaml

# A number, because Kubernetes can't tell from a name that it isn't root's. The relay writes no files.
USER 10001:10001
WORKDIR /
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
# http.client, because the urllib of a container with HTTP_PROXY set would ask the proxy for our own health.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python3", "-I", "-S", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 9090, timeout=2); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["relay"]
CMD ["serve", "--config", "/etc/relay/relay.yaml"]
