# syntax=docker/dockerfile:1

# Comanda as one static binary in an image without a shell. The time zone
# database is in the binary; the certificates of the public authorities, which
# notifications need, are in the base image.
FROM golang:1.26-alpine AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -o /out/comanda ./cmd/comanda
# A new volume takes owner and mode from the image's directory.
RUN mkdir -m 0700 /out/data

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/comanda /comanda
COPY --from=build --chown=nonroot:nonroot /out/data /var/lib/comanda
# Inside a container loopback is the container's own, so what is to be published
# listens on every address. gRPC does not: it asks for no credentials yet, and
# the command line in the container finds it.
ENV COMANDA_DATA_DIR=/var/lib/comanda \
    COMANDA_HTTP=0.0.0.0:8080 \
    COMANDA_OPS=0.0.0.0:8081 \
    COMANDA_GRPC=127.0.0.1:9090
VOLUME /var/lib/comanda
EXPOSE 8080 8081
USER nonroot
ENTRYPOINT ["/comanda"]
CMD ["serve"]
