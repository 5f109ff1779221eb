# A container of Roomtone: `docker build -t roomtone .`, then compose.yaml or docs/deploying.md.
#
# The first stage builds a release on Debian 12; the second one has that release and the five libraries that it needs.

FROM debian:12-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl elixir erlang-nox erlang-dev gcc g++ libc6-dev cmake make binutils nodejs npm \
 && rm -rf /var/lib/apt/lists/*
ARG RUST_VERSION=1.91.0
RUN curl --proto '=https' --tlsv1.2 -sSf https://static.rust-lang.org/rustup/rustup-init.sh | sh -s -- -y --profile minimal --default-toolchain "$RUST_VERSION"
ENV PATH=/root/.cargo/bin:$PATH LANG=C.UTF-8 MIX_ENV=prod PHOENIX=lite
WORKDIR /src
# The npm packages change seldom: they come before the sources.
COPY elixir_app/assets/package.json elixir_app/assets/package-lock.json elixir_app/assets/
RUN npm ci --prefix elixir_app/assets --no-audit --no-fund
COPY . .
RUN mix deps.get && mix release --path /opt/roomtone

FROM debian:12-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends libssl3 libstdc++6 libtinfo6 zlib1g ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --home-dir /var/lib/roomtone --create-home --shell /usr/sbin/nologin roomtone
COPY --from=build --chown=root:root /opt/roomtone /opt/roomtone
ENV LANG=C.UTF-8 HOME=/var/lib/roomtone DATA_DIR=/var/lib/roomtone/data RELEASE_TMP=/tmp RELEASE_DISTRIBUTION=none \
    LOG_FORMAT=json PORT=4000 UDP_PORTS=50000-50001 SHARDS=2
USER roomtone
VOLUME /var/lib/roomtone
EXPOSE 4000/tcp 50000-50001/udp 50000-50001/tcp
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
  CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/$PORT && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]
# SIGTERM drains: allow `docker stop --time 40`.
STOPSIGNAL SIGTERM
CMD ["/opt/roomtone/bin/roomtone", "start"]
