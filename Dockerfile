# One image with every command: tailweir ingest, tailweir worker, tailweir probe and the others.
#
#   docker build --build-arg VERSION="$(git describe --tags --always --dirty)" -t tailweir .
#
# For another machine than this one: --platform linux/amd64. It needs BuildKit, or podman.
# e2e/image_test.go follows this file where there is no engine: it knows the instructions and forms that are used here, and fails on
# others. docs/container.md says why it is as it is.

FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X tailweir/version.version=$VERSION" -o tailweir ./cmd/tailweir

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/tailweir /tailweir
USER 65532:65532
ENTRYPOINT ["/tailweir"]
