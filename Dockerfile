# syntax=docker/dockerfile:1
FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.release=${VERSION}" -o /out/onceway ./cmd/onceway \
    && mkdir /out/data

# No shell, no libc, no root. /data belongs to the user and holds the embedded store, if that is used:
# it must be a volume, because the records have to outlive the container. The configuration has to name
# it (store: sqlite:/data/onceway.db): relative paths begin at the file. See docs/operations.md.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/onceway /usr/local/bin/onceway
COPY --from=build --chown=65532:65532 /out/data /data
WORKDIR /data
VOLUME /data
USER 65532:65532
EXPOSE 8080
# The admin listener is asked on the loopback interface of the container.
HEALTHCHECK --interval=5s --timeout=5s --start-period=10s --retries=3 CMD ["/usr/local/bin/onceway", "healthcheck"]
# SIGTERM drains: give it longer than drain_delay and drain_timeout together.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/onceway"]
CMD ["serve"]
