ARG REGISTRY
FROM $REGISTRY/small:1
WORKDIR /gone
RUN cd / && rm -r /gone
