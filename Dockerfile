# docker build -t grounding .
# docker run --rm --network none -v "$PWD:/work" --user "$(id -u):$(id -g)" grounding localize --image photo.jpg --caption "a man in a red hat"
# docker run --rm -p 127.0.0.1:7860:7860 grounding demo --host 0.0.0.0 --no-browser
#
# With CUDA: docker build -t grounding:cuda --build-arg TORCH_INDEX= . and docker run --gpus all ...
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=demo
WORKDIR /source
RUN python3 -m venv /opt/grounding \
    && /opt/grounding/bin/pip install --no-cache-dir --no-compile ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} torch torchvision
COPY LICENSE NOTICE README.md pyproject.toml ./
COPY grounding grounding
RUN /opt/grounding/bin/pip install --no-cache-dir --no-compile ".[${EXTRAS}]"

FROM ${BASE}
RUN useradd --no-create-home --uid 1000 user && mkdir /work && chown 1000:1000 /work
COPY --from=build /opt/grounding /opt/grounding
ENV PATH="/opt/grounding/bin:${PATH}" HOME=/tmp PYTHONDONTWRITEBYTECODE=1
USER 1000:1000
WORKDIR /work
EXPOSE 7860
ENTRYPOINT ["grounding"]
CMD ["--help"]
