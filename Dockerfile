# A container of Roomtone: `docker build -t roomtone .`, then compose.yaml or docs/deploying.md.
#
# The first stage builds a release on Debian 12, the second one the system that it needs, and the image is these two.

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

# The files of the packages that the release needs, and nothing that installs packages: no apt, Perl
# or documentation. BusyBox has the shell and the tools of the start script. The second line is for
# Erlang's port mapper, which a cluster needs. The packages' descriptions stay, for scanners, and so
# do their licences.
FROM debian:12-slim AS system
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && mkdir /packages && cd /packages \
 && apt-get download base-files busybox-static ca-certificates gcc-12-base libc-bin libc6 libgcc-s1 libssl3 libstdc++6 libtinfo6 ncurses-base zlib1g \
      libsystemd0 libcap2 libgcrypt20 libgpg-error0 liblz4-1 liblzma5 libzstd1 \
 && mkdir -p /system/var/lib/dpkg/status.d \
 && for file in *.deb; do \
      dpkg-deb -x "$file" /system && dpkg-deb -f "$file" >"/system/var/lib/dpkg/status.d/${file%%_*}" || exit 1; \
    done \
 && cd /system \
 && find usr/share/doc -type f ! -name copyright -delete \
 && rm -rf usr/share/man usr/share/info usr/share/locale usr/share/lintian usr/lib/*/gconv \
 && for tool in $(bin/busybox --list); do [ -e "bin/$tool" ] || ln -s busybox "bin/$tool" || exit 1; done \
 && ln -s ../../bin/busybox usr/bin/env \
 && mkdir -p etc/ssl/certs var/lib/roomtone \
 && cp /etc/ssl/certs/ca-certificates.crt etc/ssl/certs/ \
 && echo 'hosts: files dns' >etc/nsswitch.conf \
 && echo 'root:x:0:0:root:/root:/bin/sh' >etc/passwd \
 && echo 'roomtone:x:10001:10001:Roomtone:/var/lib/roomtone:/bin/false' >>etc/passwd \
 && echo 'root:x:0:' >etc/group \
 && echo 'roomtone:x:10001:' >>etc/group

FROM scratch
COPY --from=system /system /
COPY --from=system --chown=10001:10001 /system/var/lib/roomtone /var/lib/roomtone
COPY --from=build --chown=0:0 /opt/roomtone /opt/roomtone
ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/var/lib/roomtone DATA_DIR=/var/lib/roomtone/data RELEASE_TMP=/tmp \
    RELEASE_DISTRIBUTION=none LOG_FORMAT=json PORT=4000 UDP_PORTS=50000-50001 SHARDS=2
USER 10001:10001
VOLUME /var/lib/roomtone
EXPOSE 4000/tcp 50000-50001/udp 50000-50001/tcp
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
  CMD ["sh", "-c", "exec wget -q -O /dev/null http://127.0.0.1:$PORT/healthz"]
# SIGTERM drains: allow `docker stop --time 40`.
STOPSIGNAL SIGTERM
CMD ["/opt/roomtone/bin/roomtone", "start"]
