ARG REGISTRY
FROM $REGISTRY/small:1
ENV A=base
LABEL base=label own=base
EXPOSE 80
VOLUME /v
USER app
WORKDIR /w
STOPSIGNAL 9
SHELL ["/bin/sh", "-xc"]
HEALTHCHECK --retries=2 CMD true
ENTRYPOINT ["/bin/e"]
CMD ["c"]
