# An image whose entry point is the training program:
#     docker build -t tf_simclr .                                                 # for CPUs
#     docker build -t tf_simclr:gpu --build-arg VARIANT=gpu .                     # with CUDA's libraries, for GPUs
#     docker build -t tf_simclr:tpu --build-arg REQUIREMENTS=requirements-tpu.txt . # on a TPU VM
#     docker run -v /data:/data -v /results:/results tf_simclr --data_dir=/data/images --model_dir=/results/run
# The other tasks: docker run --entrypoint tini tf_simclr -- python -m tf_simclr evaluate --checkpoint=/results/run
ARG VARIANT=cpu

FROM python:3.11-slim AS cpu
ARG REQUIREMENTS=requirements.txt
# The first process of a container gets no signal that it does not ask for: tini passes them on from the start.
RUN apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/*
WORKDIR /tf_simclr
COPY requirements*.txt ./
RUN pip install --no-cache-dir --upgrade pip && pip install --no-cache-dir -r "$REQUIREMENTS"

# The same TensorFlow with the libraries of CUDA, which are some GB. The host needs the driver and NVIDIA's container toolkit.
FROM cpu AS gpu
ARG REQUIREMENTS=requirements.txt
RUN pip install --no-cache-dir -r "$REQUIREMENTS" 'tensorflow[and-cuda]'
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

# The program comes last, so that a change to it installs nothing again.
FROM ${VARIANT}
COPY . .
RUN useradd --create-home simclr && mkdir -p /results && chown simclr /results
USER simclr
ENV PYTHONUNBUFFERED=1
ENTRYPOINT ["tini", "--", "python", "run.py"]
