# The image of every pod of Ray: head, control and models (k8s/).
#
#   docker build -t orchestrator-serve:0.1.0 .
#   docker build -t orchestrator-serve:0.1.0 --build-arg EXTRAS=s3 \
#     --build-arg MODEL_PACKAGES="vllm==VERSION" .    # what a `command` runner starts
#
# To pin the base by content, give its digest:
#   --build-arg PYTHON="$(docker buildx imagetools inspect python:3.11.14-slim-bookworm \
#     --format 'python@{{.Manifest.Digest}}')"
ARG PYTHON=python:3.11.14-slim-bookworm

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
RUN python -m venv --without-pip /opt/orchestrator
COPY pyproject.toml ./
ARG EXTRAS=""
ARG MODEL_PACKAGES=""
# What changes seldom first: a change of the sources alone installs none of this anew.
RUN python -c "import sys, tomllib; \
project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
extras = [e for e in sys.argv[1].split(',') if e]; \
print(*project['dependencies'], \
*(p for e in extras for p in project['optional-dependencies'][e]), sep='\n')" "$EXTRAS" \
    > /requirements.txt \
  && pip --python /opt/orchestrator/bin/python install -r /requirements.txt $MODEL_PACKAGES
COPY README.md LICENSE ./
COPY orchestrator ./orchestrator
COPY replicas ./replicas
COPY k8s ./k8s
ARG VERSION=0.1.0
RUN pip wheel --no-deps --wheel-dir /wheels . \
  && pip --python /opt/orchestrator/bin/python install --no-deps \
    "/wheels/orchestrator_serve-${VERSION}-py3-none-any.whl"

FROM ${PYTHON}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="orchestrator-serve" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 orchestrator \
  && useradd --uid 10001 --gid 10001 --create-home --shell /usr/sbin/nologin orchestrator
COPY --from=build /opt/orchestrator /opt/orchestrator
ENV PATH=/opt/orchestrator/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /home/orchestrator
# KubeRay puts `ray start` in its place.
CMD ["orchestrator", "--help"]
