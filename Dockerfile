# The images that ship rbuild: one static binary on an empty root, laid out as pipelines know it from kaniko.
#
#   executor   the default: the binary and the certificate authorities, no shell
#   debug      with busybox in /busybox, and /bin/sh
#   warmer     fills a directory with base images
#
# scripts/image builds and pushes one of them. By hand, BINARY says where the binary comes from:
#
#   rbuild --target debug -d registry:5000/rbuild:debug                             compiles it in a stage
#   rbuild --build-arg BINARY=prebuilt -d registry:5000/rbuild:1                    takes dist/ARCHITECTURE/rbuild
#   rbuild --build-arg BINARY=registry:5000/rbuild:1 -d registry:5000/rbuild:2      takes that of another image
#
# Only the stage that compiles runs anything for the image's platform.
ARG BINARY=compiled
ARG RUST=docker.io/library/rust:1-bookworm
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${RUST} AS compiled
RUN apt-get update && apt-get install -y --no-install-recommends autoconf automake libtool make nasm
WORKDIR /src
COPY . .
RUN cargo build --release --locked && install -D target/*/release/rbuild /kaniko/executor

FROM scratch AS prebuilt
ARG TARGETARCH
COPY --chmod=755 dist/${TARGETARCH}/rbuild /kaniko/executor

FROM ${BINARY} AS binary

FROM --platform=$BUILDPLATFORM ${BASE} AS packages
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates

FROM packages AS files
RUN <<SCRIPT
set -e
mkdir -p /image/etc /image/kaniko/.docker /image/kaniko/ssl/certs
cp /etc/ssl/certs/ca-certificates.crt /image/kaniko/ssl/certs/
echo 'hosts: files dns' >/image/etc/nsswitch.conf
ln -s executor /image/kaniko/warmer
# Jobs write their credentials here, whoever they run as.
chmod 777 /image/kaniko /image/kaniko/.docker
SCRIPT

FROM packages AS shell
ARG TARGETARCH
RUN <<SCRIPT
set -e
case $TARGETARCH in
386) architecture=i386 ;;
arm) architecture=armhf ;;
ppc64le) architecture=ppc64el ;;
*) architecture=$TARGETARCH ;;
esac
# That of this machine lists the applets, and is the one to ship if the image is for such a machine.
apt-get install -y --no-install-recommends busybox-static
busybox=/bin/busybox
if [ "$architecture" != "$(dpkg --print-architecture)" ]; then
    dpkg --add-architecture "$architecture"
    apt-get update
    cd /tmp
    apt-get download "busybox-static:$architecture"
    dpkg-deb --extract busybox-static_*.deb /tmp/foreign
    busybox=/tmp/foreign/bin/busybox
fi
mkdir -p /image/bin /image/busybox
cp "$busybox" /image/busybox/busybox
for applet in $(/bin/busybox --list); do
    [ "$applet" = busybox ] || ln -s busybox "/image/busybox/$applet"
done
ln -s /busybox/sh /image/bin/sh
SCRIPT

FROM scratch AS common
COPY --from=files /image/ /
COPY --from=binary --chmod=755 /kaniko/executor /kaniko/executor
# check=skip=SecretsUsedInArgOrEnv // what looks like a credential is the name of a file
ENV HOME=/root \
    USER=root \
    PATH=/usr/local/bin:/kaniko \
    SSL_CERT_DIR=/kaniko/ssl/certs \
    DOCKER_CONFIG=/kaniko/.docker/ \
    DOCKER_CREDENTIAL_GCR_CONFIG=/kaniko/.config/gcloud/docker_credential_gcr_config.json
WORKDIR /workspace

FROM common AS warmer
ENTRYPOINT ["/kaniko/warmer"]

FROM common AS debug
COPY --from=shell /image/ /
ENV PATH=/usr/local/bin:/kaniko:/busybox
VOLUME /busybox
ENTRYPOINT ["/kaniko/executor"]

FROM common AS executor
ENTRYPOINT ["/kaniko/executor"]
