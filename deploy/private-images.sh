#!/usr/bin/env bash
# Makes the images that docker-compose.yml, its Dockerfile and the tests name, out of
# a folder of unpacked Debian packages, for private-engine.sh: private-images.sh ROOT
#
# How they differ from the real ones:
#   - pgvector: PostgreSQL and pgvector are those of Debian (17 and 0.8.0 or newer),
#     whatever the tag says; the entry point is postgres-entrypoint.sh, which knows
#     what of the official one's is used here;
#   - golang: this machine's Go on the same packages, without git and a C compiler,
#     with this machine's module cache in /goproxy, to be used as GOPROXY, since the
#     build has no network.
# The image of TARS is not stood in for: it is made by its Dockerfile from these.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$1
standin=deploy/postgres-entrypoint.sh

prepare() {
	local bundle
	rm -rf "$root"/usr/lib/postgresql/*/lib/{bitcode,llvmjit*} "$root"/usr/share/{doc,man,locale,info}
	mkdir -p "$root"/{proc,sys,dev,run,tmp,root,etc/ssl/certs,var/lib/postgresql,docker-entrypoint-initdb.d,usr/local/bin,usr/local/go,goproxy}
	chmod 1777 "$root/tmp"
	printf 'root:x:0:0:root:/root:/bin/bash\npostgres:x:999:999::/var/lib/postgresql:/bin/bash\n' >"$root/etc/passwd"
	printf 'root:x:0:\npostgres:x:999:\n' >"$root/etc/group"
	chown 999:999 "$root/var/lib/postgresql"
	[ -e "$root/bin/sh" ] || ln -s bash "$root/bin/sh"
	bundle=("$root"/usr/share/ca-certificates/mozilla/*.crt)
	cat "${bundle[@]}" >"$root/etc/ssl/certs/ca-certificates.crt"
	sed -i "s/^#\?listen_addresses.*/listen_addresses = '*'/" "$root"/usr/share/postgresql/17/postgresql.conf.sample
	install -m 755 "$standin" "$root/usr/local/bin/docker-entrypoint.sh"
	chroot "$root" /sbin/ldconfig
}

# The names that are asked for: by compose, and by tests that start containers.
postgres_images() {
	sed -n 's/^ *image: \(pgvector[^ ]*\)$/\1/p' docker-compose.yml
	sed -n 's/^const DefaultImage = "\(.*\)"$/\1/p' migrations/pglocal/docker.go
}

import_postgres() {
	local id name
	id=$(tar --create --directory "$root" --exclude=./usr/local/go --exclude=./goproxy . | docker import \
		--change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/17/bin' \
		--change 'ENV PGDATA=/var/lib/postgresql/data' --change 'ENV LANG=C.UTF-8' \
		--change 'ENTRYPOINT ["docker-entrypoint.sh"]' --change 'CMD ["postgres"]' \
		--change 'EXPOSE 5432' --change 'VOLUME /var/lib/postgresql/data' -)
	postgres_images | sort -u | while IFS= read -r name; do docker tag "$id" "$name"; done
}

# We are in a mount namespace of our own: nobody else sees these mounts.
import_golang() {
	local version
	version=$(sed -n 's/^ARG GO_VERSION=//p' cmd/tars/Dockerfile)
	mount --bind "$(go env GOROOT)" "$root/usr/local/go"
	mount --bind "$(go env GOMODCACHE)/cache/download" "$root/goproxy"
	tar --create --directory "$root" --exclude=./usr/lib/postgresql --exclude=./usr/local/go/test . | docker import \
		--change 'ENV PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
		--change 'ENV GOPATH=/go' --change 'ENV GOTOOLCHAIN=local' --change 'WORKDIR /go' - "golang:$version-bookworm" >/dev/null
	umount "$root/usr/local/go" "$root/goproxy"
	[ "$(go env GOVERSION)" = "go$version" ] || echo "private images: golang:$version-bookworm holds $(go env GOVERSION)" >&2
}

prepare
import_postgres
import_golang
