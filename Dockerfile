# holdfast in a small image. Build it with the commit, which the image's build cannot see:
#   docker build --build-arg COMMIT="$(git rev-parse --short=12 HEAD)" -t holdfast .
#   docker run --network host -v "$PWD/holdfast.toml:/etc/holdfast/holdfast.toml:ro" holdfast

FROM debian:12-slim AS build
RUN apt-get update -qq \
 && apt-get install -qq --yes --no-install-recommends \
      cmake ninja-build g++ pkg-config libuv1-dev node-llhttp libssl-dev libre2-dev \
      libtomlplusplus-dev libcli11-dev prometheus-cpp-dev nlohmann-json3-dev libfmt-dev \
      libsqlite3-dev libhiredis-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY CMakeLists.txt CMakePresets.json ./
COPY cmake cmake
COPY include include
COPY src src
ARG COMMIT=unknown
RUN cmake --preset release -DHOLDFAST_TESTS=OFF -DHOLDFAST_COMMIT="$COMMIT" \
 && cmake --build --preset release --target holdfast \
 && strip build/release/holdfast

FROM debian:12-slim
RUN apt-get update -qq \
 && apt-get install -qq --yes --no-install-recommends \
      ca-certificates libuv1 libssl3 libre2-9 libfmt9 libprometheus-cpp-core1.0 \
      libtomlplusplus3 libsqlite3-0 libhiredis0.14 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --user-group --no-create-home --shell /usr/sbin/nologin holdfast
COPY --from=build /source/build/release/holdfast /usr/local/bin/holdfast
COPY conf/minimal.toml /etc/holdfast/holdfast.toml
USER holdfast
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
  CMD ["holdfast", "ready", "--config", "/etc/holdfast/holdfast.toml"]
ENTRYPOINT ["holdfast"]
CMD ["run", "--config", "/etc/holdfast/holdfast.toml"]
