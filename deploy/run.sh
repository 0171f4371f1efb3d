#!/bin/sh
# `make run` where there is no Go: the same job in Docker. Ctrl-C stops what it
# started; data stays in volumes.
set -eu
cd "$(dirname "$0")/.."
if ! docker compose version >/dev/null 2>&1 || ! docker info >/dev/null 2>&1; then
	echo "make run needs Go 1.26 (https://go.dev/dl), or Docker with compose; found neither" >&2
	exit 1
fi
deploy/secrets.sh
trap 'docker compose stop' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
docker compose up --build --wait
docker compose run --rm demo
echo "Serving on http://127.0.0.1:${TARS_PORT:-8080} until Ctrl-C; documentation on /docs."
docker compose logs --follow --tail 0 tars
