ARG REGISTRY
FROM $REGISTRY/small:1
ONBUILD COPY --from=tools /tool /from-stage
ONBUILD COPY --from=0 /tool /from-number
ONBUILD COPY --from=@REGISTRY@/small:1 /etc/group /from-image
