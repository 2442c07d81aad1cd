# The operator's image: docker buildx build --platform linux/amd64,linux/arm64 -t <your registry>/connect-autoscaler:0.1.0 .
# Everything in it is pinned: images by digest, Python packages and Go modules by hash, and helm, once more, by its own.

# Helm from its source, the very version that the tests run; Go checks each module against go.sum. The build is
# reproducible, so that its result has one checksum per platform, whoever makes it.
FROM --platform=$BUILDPLATFORM docker.io/library/golang:1.27.1-bookworm@sha256:69a7b9788769bec032d238959b61854e9ae87f57be9029ec04e9885fabf99195 AS helm
ARG TARGETARCH
ENV CGO_ENABLED=0 GOOS=linux GOFLAGS="-mod=readonly -buildvcs=false" GOTOOLCHAIN=local
WORKDIR /src
COPY tests/sandbox/tools/helm/go.mod tests/sandbox/tools/helm/go.sum ./
RUN GOARCH="$TARGETARCH" go build -trimpath -ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=v4.3.1" \
    -o "linux-$TARGETARCH/helm" helm.sh/helm/v4/cmd/helm
COPY deploy/image/helm.sha256 ./
RUN sha256sum --check --strict --ignore-missing helm.sha256 && mv "linux-$TARGETARCH/helm" helm

# The same minor version of Python and the same Debian as in the last stage: compiled packages must fit.
FROM docker.io/library/python:3.13.15-slim-trixie@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285 AS packages
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never UV_SYSTEM_PYTHON=1
WORKDIR /src
COPY requirements-uv.lock ./
RUN python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements-uv.lock
COPY requirements.lock ./
RUN uv pip install --target /app --only-binary :all: --require-hashes -r requirements.lock
COPY pyproject.toml requirements-dev.lock README.md LICENSE ./
COPY operator operator
RUN uv build --wheel --build-constraints requirements-dev.lock --require-hashes --out-dir dist \
    && uv pip install --target /app --no-deps --no-index dist/*.whl \
    && rm -r /app/bin

# No shell, no package manager, nothing that builds.
FROM gcr.io/distroless/python3-debian13:nonroot@sha256:f3d5ddc6c64a019fe520e7f005f2880be21e6afc461b10a3c15ef2e4edc71e33
LABEL org.opencontainers.image.title="connect-autoscaler" \
      org.opencontainers.image.description="Keeps Karpenter NodePools and the Posit Connect Helm release in the shape that protects running content" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=helm /src/helm /usr/local/bin/helm
COPY --from=packages /app /app
ENV PYTHONPATH=/app PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 65532:65532
ENTRYPOINT ["/usr/bin/python3", "-m", "connect_autoscaler"]
CMD ["run"]
