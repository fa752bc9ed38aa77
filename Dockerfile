# event-fabric in a container: the proxy, the command `fabric`, and the library.
#
#   docker build -t event-fabric .
#   docker run --rm --init event-fabric                      the proxy, at ipc:///run/fabric
#   docker run --rm -e FABRIC_URL=… event-fabric fabric tap   another command
#
# The build needs only a package index. For another index than PyPI: --build-arg PIP_INDEX_URL=… ; only the first stage sees
# these arguments, and they are not in the image.
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY fabric fabric
COPY proxy proxy
COPY cli cli
RUN pip wheel --wheel-dir /wheels --constraint constraints.txt .
# A separate environment without pip: PyPI has other packages called fabric and proxy.
RUN python -m venv --without-pip /opt/event-fabric \
 && pip --python /opt/event-fabric/bin/python install --no-index --find-links /wheels event-fabric

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="event-fabric" org.opencontainers.image.licenses="MIT"
# A fixed uid and gid, for volumes and other containers. The proxy requires that only its own user can access the directory.
RUN groupadd --gid 10001 fabric \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin fabric \
 && install --directory --owner 10001 --group 10001 --mode 0700 /run/fabric
COPY --from=build /opt/event-fabric /opt/event-fabric
# Example programs, for docker-compose.yml.
COPY examples /opt/event-fabric/examples
# No FABRIC_INSECURE: an address that other machines can reach must be allowed explicitly.
ENV PATH=/opt/event-fabric/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FABRIC_URL=ipc:///run/fabric \
    FABRIC_AUTOSTART=0
USER 10001:10001
WORKDIR /
EXPOSE 7400 7401 7402
# A probe through both planes: the container is healthy if it can reach its proxy, whatever program runs in it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["fabric", "check", "--timeout", "3"]
# CMD and not ENTRYPOINT, so that `docker run event-fabric fabric tap` runs another command.
CMD ["fabric", "proxy"]
