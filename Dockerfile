# Search behind HTTP in a container: docs/deploy.md.
FROM python:3.11-slim-bookworm AS build
# Where pip looks beside PyPI: torch's own index of CPU wheels makes the image several GB smaller.
ARG EXTRA_INDEX=""
WORKDIR /app
COPY requirements.txt requirements-milvus.txt ./
RUN python -m venv /venv \
    && PIP_EXTRA_INDEX_URL="$EXTRA_INDEX" /venv/bin/pip install --no-cache-dir -r requirements-milvus.txt

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /cache crossmodal \
    && mkdir /cache /index /photos /keys \
    && chown crossmodal /cache /index
COPY --from=build /venv /venv
WORKDIR /app
COPY model.py ./
COPY crossmodal ./crossmodal
# The model is baked; another one is mounted over it.
COPY model-checkpoints/shipped ./model-checkpoints/shipped
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/cache XDG_CACHE_HOME=/cache HF_HUB_OFFLINE=1
# Exported towers, thumbnails and the key of ids; all else may be read-only.
VOLUME ["/cache", "/index"]
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["python", "-m", "crossmodal"]
CMD ["serve", "--host", "0.0.0.0", "--photos", "/photos", "--index", "/index"]
