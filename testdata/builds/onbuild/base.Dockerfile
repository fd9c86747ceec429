ARG REGISTRY
FROM $REGISTRY/small:1
ONBUILD ENV FROM_TRIGGER=yes
ONBUILD COPY file /from-context
ONBUILD RUN echo "trigger $FROM_TRIGGER" >> /order
ONBUILD WORKDIR /triggered
RUN echo base > /order
