# The image of xquantd with a model inside, on top of the plain one: `make image MODEL=NAME`. The
# context is a folder with the model's file alone.
ARG BASE
FROM ${BASE}
ARG NAME
ARG FILE
ARG LICENCES
COPY --chmod=644 ${FILE} /usr/share/xquantd/models/
ENV XQUANTD_MODEL=${NAME}
LABEL org.opencontainers.image.licenses="MIT AND CC-BY-SA-4.0 AND ${LICENCES}"
