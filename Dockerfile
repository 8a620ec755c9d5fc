# efface with the extras of requirements/runtime.txt, for a CPU or for CUDA; docs/installation.md describes how to build and to use it.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS install
ARG DEVICE=cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_REQUIRE_VIRTUALENV=1
WORKDIR /source
RUN python -m venv /opt/efface
ENV PATH=/opt/efface/bin:$PATH VIRTUAL_ENV=/opt/efface
COPY requirements requirements
RUN pip install --require-hashes -r requirements/build.txt
# Every file is checked against its SHA-256, those that are built from source too: nothing else is downloaded for them.
RUN case "$DEVICE" in \
      cpu) set -- --extra-index-url https://download.pytorch.org/whl/cpu ;; \
      cuda) set -- -r requirements/cuda.txt ;; \
      *) echo "DEVICE=$DEVICE: give cpu or cuda" >&2; exit 2 ;; \
    esac && \
    pip install --require-hashes --no-build-isolation -r requirements/runtime.txt "$@"
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --no-deps --no-build-isolation .

FROM python:${PYTHON}-slim-bookworm
# torch.compile, which the optimizer adamw8bit uses, needs a compiler.
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
COPY --from=install /opt/efface /opt/efface
ENV PATH=/opt/efface/bin:$PATH PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 1000 efface && install -d -o efface -g efface /home/efface/runs
USER efface
WORKDIR /home/efface
ENTRYPOINT ["efface"]
CMD ["--help"]
