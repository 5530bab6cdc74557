# The image of xquantd: built in one stage, run in another that has the program, the model
# and the libraries they need. `make image` builds it with docker or without.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
WORKDIR /src
COPY deploy/deps.sh deploy/deps.sh
RUN deploy/deps.sh build
COPY . .
ARG REVISION=
RUN make -j"$(nproc)" all PREFIX=/usr REVISION="${REVISION}" \
 && make install PREFIX=/usr REVISION="${REVISION}" DESTDIR=/out >/dev/null

FROM ${BASE}
COPY deploy/deps.sh /usr/share/xquantd/deploy/deps.sh
RUN /usr/share/xquantd/deploy/deps.sh runtime \
 && rm -rf /var/lib/apt/lists/* /usr/share/xquantd/deploy
COPY --from=build /out/usr/bin/xquantd /usr/bin/xquantd
COPY --from=build /out/usr/share/xquantd/models /usr/share/xquantd/models
COPY --from=build /out/etc/xquantd /etc/xquantd
COPY --from=build /src/LICENSE /usr/share/doc/xquantd/LICENSE
ARG VERSION=
ARG REVISION=
ARG CREATED=
LABEL org.opencontainers.image.title="xquantd" \
      org.opencontainers.image.description="OpenAI-compatible inference server with a quantized layer-input cache" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.licenses="MIT AND CC-BY-SA-4.0"
USER 10001:10001
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["/usr/bin/xquantd", "--healthcheck", "--listen", "127.0.0.1:8080", "--admin-listen", "127.0.0.1:9090"]
ENTRYPOINT ["/usr/bin/xquantd"]
CMD ["serve", "--listen", "0.0.0.0:8080", "--admin-listen", "0.0.0.0:9090"]
