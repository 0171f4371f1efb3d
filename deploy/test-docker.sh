#!/usr/bin/env bash
# Tests docker-compose.yml and the image for real: builds it, starts it, does the main
# job through it, kills it, and takes it away; then runs tests of the database with a
# server in a container. Uses the Docker engine that answers, or else one of its own
# (private-engine.sh, which needs root). Nothing is left behind but cached images.
#
# Takes three to five minutes on two cores, most of it compiling without a cache. Needs Go and curl.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'test-docker: %s\n' "$*" >&2; }
die() { say "FAILED: $*"; exit 1; }

if [ "${1:-}" != --here ]; then
	if docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; then
		exec "$0" --here
	fi
	say "no Docker engine with compose answers here: starting a private one"
	# The build has no network there; the private images bring the modules.
	GOPROXY=file:///goproxy exec deploy/private-engine.sh "$0" --here
fi

# A project of its own, beside any other of this machine.
export COMPOSE_PROJECT_NAME="tars-test-$$" TARS_IMAGE="tars:test-$$" TARS_PORT=${TARS_PORT:-18080} TARS_SECRETS
work=$(mktemp --directory)
TARS_SECRETS=$work/.secrets
url=http://127.0.0.1:$TARS_PORT
begun=$SECONDS

compose() { docker compose --env-file "$work/.env" "$@"; }

clean_up() {
	local code=$?
	if [ "$code" != 0 ]; then
		compose logs --no-color --tail 40 >&2 || true
		say "FAILED in: ${current//_/ }"
	fi
	compose --profile demo down --volumes --remove-orphans >/dev/null 2>&1 || true
	docker image rm "$TARS_IMAGE" >/dev/null 2>&1 || true
	rm -rf "$work"
	exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# step runs one of the functions below. Not in a condition: there, bash would not stop
# at what fails inside.
current="the beginning"
step() {
	local from=$SECONDS
	current=$1
	"$@"
	say "$(printf '%-34s %4d s' "${1//_/ }" $((SECONDS - from)))"
}

# --- the steps -----------------------------------------------------------------------

# Without the secrets there is nothing to fall back to.
refuse_without_secrets() {
	local out
	if out=$(docker compose --env-file /dev/null config 2>&1); then die "compose takes the file without passwords"; fi
	case $out in *"deploy/secrets.sh"*) ;; *) die "does not say what to do: $out" ;; esac
	deploy/secrets.sh "$work" 2>/dev/null
	deploy/secrets.sh "$work" # keeps what is there
}

build() { compose build --quiet tars; }

start() { compose up --detach --wait --wait-timeout 120; }

grade() { curl --fail --silent --show-error --max-time 5 "$url/readyz" | grep -o 'process (jail[a-z+-]*)'; }

# hardened looks at what runs, not at what was written.
hardened() {
	local id got want
	id=$(compose ps --quiet tars)
	got=$(docker inspect --format '{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.Privileged}} {{json .HostConfig.PortBindings}}' "$id")
	want="65532:65532 true [ALL] false {\"8080/tcp\":[{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"$TARS_PORT\"}]}"
	[ "$got" = "$want" ] || die "the container of TARS is: $got; want: $want"
	[ "$(docker inspect --format '{{json .HostConfig.PortBindings}}' "$(compose ps --quiet db)")" = '{}' ] || die "the database is published"
	got=$(docker inspect "$id")
	case $got in *"$(cat "$TARS_SECRETS/admin.key")"*) die "the operator's token is in the container's configuration" ;; esac
	got=$(docker inspect --format '{{.State.Health.Status}}' "$id")
	[ "$got" = healthy ] || die "health is $got"
	got=$(grade)
	[ "$got" = 'process (jail-lite)' ] || die "grade is $got, want jail-lite"
	# Only what the operator's key opens.
	got=$(curl --silent --output /dev/null --write-out '%{http_code}' --max-time 5 "$url/v1/collections")
	[ "$got" = 401 ] || die "without a key: status $got, want 401"
}

main_job() {
	compose run --rm demo >"$work/demo.out"
	grep -qi 'recovery' "$work/demo.out" || die "the answer does not speak of recovery: $(cat "$work/demo.out")"
}

# What was acknowledged is there after a kill and a new container.
kill_and_start_again() {
	compose kill tars db 2>/dev/null
	compose up --detach --wait --wait-timeout 120 2>/dev/null
	compose run --rm demo >"$work/demo.out" 2>"$work/demo.err"
	grep -q 'has its [0-9]* passages' "$work/demo.err" || die "the collection is not whole: $(cat "$work/demo.err")"
}

# health must see that the database is gone.
health_without_database() {
	local id tries
	id=$(compose ps --quiet tars)
	compose stop db 2>/dev/null
	if docker exec "$id" /tars health 2>/dev/null; then die "healthy without a database"; fi
	compose start db 2>/dev/null
	for ((tries = 0; tries < 60; tries++)); do
		if docker exec "$id" /tars health 2>/dev/null; then return; fi
		sleep 0.5
	done
	die "does not find its database again"
}

with_namespaces() {
	local got
	docker compose --env-file "$work/.env" -f docker-compose.yml -f deploy/compose.jail.yml up --detach --wait --wait-timeout 60 tars 2>/dev/null
	got=$(grade)
	[ "$got" = 'process (jail)' ] || die "grade is $got, want jail"
	main_job
}

down() {
	local left
	compose --profile demo down --volumes 2>/dev/null
	left=$(docker ps --all --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME"
		docker volume ls --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME"
		docker network ls --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME")
	[ -z "$left" ] || die "left behind: $left"
}

# The same tests that run elsewhere against a private server. They would go on without
# Docker if it failed them; so look for the container that they must have started.
tests_in_container() {
	local since used
	since=$(date +%s)
	env --unset=TARS_TEST_DATABASE_URL go test -count=1 -run '^(TestDatabasesAreApart|TestRoles|TestSweep|TestStore)$' ./migrations/pgtest ./knowledge/pgstore >&2
	used=$(docker events --since "$since" --until "$(($(date +%s) + 1))" --filter event=start --filter type=container --format '{{.From}}')
	case $used in *pgvector/*) ;; *) die "the tests used no container, but: $used" ;; esac
}

step refuse_without_secrets
step build
step start
step hardened
step main_job
sed 's/^/    /' "$work/demo.out" >&2
step kill_and_start_again
step health_without_database
step with_namespaces
step down
step tests_in_container
say "ok, $((SECONDS - begun)) s with Docker $(docker version --format '{{.Server.Version}}')"
