# The image that ships rbuild: one static binary on an empty root, laid out as pipelines know it from kaniko.
#
#   rbuild --destination registry:5000/rbuild:1                              compiles it in a builder stage
#   rbuild --build-arg BINARY=prebuilt --destination registry:5000/rbuild:1  takes dist/rbuild, compiled before
ARG BINARY=compiled

FROM docker.io/library/rust:1-bookworm AS compiled
RUN apt-get update && apt-get install -y --no-install-recommends autoconf automake libtool make nasm
WORKDIR /src
COPY . .
RUN cargo build --release --locked && cp target/*/release/rbuild /rbuild

FROM scratch AS prebuilt
COPY --chmod=755 dist/rbuild /rbuild

FROM ${BINARY} AS binary

FROM scratch
COPY --from=binary /rbuild /kaniko/executor
ENV HOME=/root USER=root PATH=/usr/local/bin:/kaniko SSL_CERT_DIR=/kaniko/ssl/certs DOCKER_CONFIG=/kaniko/.docker/
WORKDIR /workspace
ENTRYPOINT ["/kaniko/executor"]
