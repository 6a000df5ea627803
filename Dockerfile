# A trained model over HTTP, on a CPU:
#   docker build -t taggnn .
#   docker run --rm -p 127.0.0.1:8000:8000 --read-only --tmpfs /tmp -v "$PWD/runs/folder/TIME:/model:ro" taggnn
FROM python:3.12-slim

# PyTorch first and for CPUs: the layer stays when taggnn changes, and no CUDA comes with it (5 GB).
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu 'torch>=2.9,<3' 'torchvision>=0.24'

COPY setup.cfg pyproject.toml README.md LICENSE THIRD_PARTY.md /taggnn/
COPY graphs /taggnn/graphs
COPY taggnn /taggnn/taggnn
RUN pip install --no-cache-dir '/taggnn[serve]'

RUN useradd --system --no-create-home --shell /usr/sbin/nologin taggnn
USER taggnn
WORKDIR /tmp
# Nothing is written outside of /tmp.
ENV PYTHONDONTWRITEBYTECODE=1 MPLCONFIGDIR=/tmp/matplotlib HOME=/tmp
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=5)"]
# Inside the container all addresses; what reaches them is what -p lets through.
ENTRYPOINT ["python", "-m", "taggnn.serve", "/model", "--host", "0.0.0.0", "--port", "8000"]
