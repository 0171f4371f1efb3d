#!/usr/bin/env bash
# Runs a command with a Docker engine of its own, on a Debian machine that has none
# and no way to an image registry: private-engine.sh COMMAND [ARGUMENT...]
#
# The engine, compose, and what images are made of come from Debian's packages, which
# are unpacked and not installed. The engine runs in namespaces of its own (network,
# mounts, processes) and keeps everything in one folder: the machine's firewall rules
# and services are not touched, and all of it ends with the command or with us and is
# removed (after kill -9, the folder by the next run). In there is no network but
# loopback and what the engine makes.
#
# The images that docker-compose.yml, its Dockerfile and the tests ask for are stood
# in for, under their names, by private-images.sh, which tells how they differ.
#
# Needs root, apt-get, dpkg, util-linux, ip and Go. ENGINE_DEBS=DIR keeps the package
# files (about 140 MB) for the next time.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
suite=trixie # has compose v2 and PostgreSQL 17 with pgvector
entered= # the process that waits for the namespaces
say() { printf 'private engine: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# --- inside the namespaces, as their process 1 ---------------------------------------

# link_programs puts the programs that the engine looks for into one folder.
link_programs() {
	local unpacked=$1 bin=$2 variant program
	mkdir -p "$bin"
	ln -sf "$unpacked"/usr/bin/{docker,docker-init,containerd,containerd-shim-runc-v2,ctr} "$unpacked"/usr/sbin/{dockerd,docker-proxy,runc} "$bin"
	for variant in legacy nft; do # a kernel may have one of them only
		for program in iptables ip6tables; do
			ln -sf "$unpacked/usr/sbin/xtables-$variant-multi" "$bin/$program"
		done
		"$bin/iptables" --table nat --list >/dev/null 2>&1 && return
	done
	die "this kernel has neither form of iptables"
}

start_engine() {
	local work=$1 tries
	ip link set lo up
	dockerd --host "$DOCKER_HOST" --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/dockerd.pid" \
		--cgroup-parent "/$(basename "$work")" --exec-opt native.cgroupdriver=cgroupfs >"$work/dockerd.log" 2>&1 &
	engine=$!
	for ((tries = 0; tries < 300; tries++)); do
		docker info >/dev/null 2>&1 && return
		kill -0 "$engine" 2>/dev/null || break
		sleep 0.1
	done
	tail -20 "$work/dockerd.log" >&2
	die "dockerd does not start"
}

inside() {
	local work=$1 code=0 libraries
	shift
	libraries=$(dirname "$(find "$work/engine/usr/lib" -name 'libnftnl.so*' -print -quit)")
	export PATH="$work/bin:$PATH" LD_LIBRARY_PATH="$libraries" XTABLES_LIBDIR="$libraries/xtables"
	link_programs "$work/engine" "$work/bin"
	export DOCKER_HOST="unix://$work/docker.sock" DOCKER_CONFIG="$work/config"
	mkdir -p "$DOCKER_CONFIG/cli-plugins"
	ln -s "$work/engine/usr/libexec/docker/cli-plugins/docker-compose" "$DOCKER_CONFIG/cli-plugins/"
	start_engine "$work"
	say "Docker $(docker version --format '{{.Server.Version}}'), compose $(docker compose version --short), up after ${SECONDS} s"
	unset LD_LIBRARY_PATH XTABLES_LIBDIR # the command has nothing to do with them
	"$here/private-images.sh" "$work/root"
	say "images made, ${SECONDS} s"
	# Not as process 1, which a signal without a handler does not end.
	"$@" || code=$?
	docker ps --all --quiet | xargs --no-run-if-empty docker rm --force --volumes >/dev/null || true
	kill "$engine"
	wait "$engine" || true
	exit "$code" # and what is still there ends with us
}

# --- outside: fetch, unpack, enter, clean up -----------------------------------------

# fetch brings package files into a folder and checks them against the suite's
# signed list; apt keeps those that are there already.
fetch() {
	local work=$1 debs=$2 uri names
	mkdir -p "$debs/host" "$debs/$suite" "$work/apt/lists/partial" "$work/apt/cache/archives/partial"
	: >"$work/apt/status"
	# The engine is this system's own, with the libraries that are missing here.
	apt-get install --simulate docker.io >/dev/null 2>&1 || apt-get -qq update >&2 # a fresh machine has no lists
	names=$(apt-get install --simulate --no-install-recommends docker.io iptables | awk '/^Inst/{print $2}')
	# shellcheck disable=SC2086 # the names are words
	(cd "$debs/host" && apt-get -qq -o APT::Sandbox::User= download docker.io containerd runc iptables $names) >&2

	# shellcheck disable=SC2016 # apt's own variable
	uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 -E '/debian(/|\.list)?$') || die "apt has no Debian mirror configured"
	printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' "$uri" "$suite" >"$work/apt/suite.sources"
	local apt=(apt-get -qq -o Dir::Etc::SourceParts=/nonexistent -o "Dir::Etc::sourcelist=$work/apt/suite.sources"
		-o "Dir::State::Lists=$work/apt/lists" -o "Dir::State::status=$work/apt/status" -o "Dir::Cache=$work/apt/cache"
		-o APT::Install-Recommends=0 -o APT::Sandbox::User= -o Acquire::Languages=none
		-o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o Acquire::Retries=3)
	"${apt[@]}" update >&2
	# What a container runs, down to the C library, without what only installing
	# needs. LLVM is for PostgreSQL's JIT, which we turn off.
	"${apt[@]}" --simulate install postgresql-17-pgvector bash coreutils util-linux sed grep findutils ca-certificates |
		awk '/^Inst/{print $2}' |
		grep -Ev '^(adduser|.*perl.*|debconf|init-system-helpers|libdebconf.*|libllvm.*|libz3.*|locales|libc-l10n|login.*|passwd|procps|libproc.*|libpam-.*|libsem.*|libsepol.*|lib(text|gdbm|db5).*|openssl|postgresql-.*common.*|readline-common|sensible-utils|ssl-cert|sysvinit-utils|ucf|netbase)$' >"$work/names"
	(cd "$debs/$suite" && xargs "${apt[@]}" download docker-compose <"$work/names") >&2
}

# unpack FOLDER FILE...: two at a time.
unpack() {
	local root=$1
	shift
	# shellcheck disable=SC2016 # for the shell that xargs starts
	printf '%s\0' "$@" | xargs --null --max-procs=2 --replace sh -c 'dpkg-deb --fsys-tarfile "$1" | tar --extract --keep-directory-symlink --directory "$2"' sh '{}' "$root"
}

# end_inside kills process 1 of the namespaces, and with it all that runs in there.
end_inside() {
	local children=()
	[ -n "$entered" ] || return 0
	read -ra children 2>/dev/null <"/proc/$entered/task/$entered/children" || true
	[ ${#children[@]} = 0 ] || kill -KILL "${children[@]}" 2>/dev/null || true
	wait "$entered" 2>/dev/null || true # which ends when the last of them has
}

clean_up() {
	trap '' INT TERM # a second one must not keep us from it
	end_inside
	remove "$1"
}

# remove removes a folder whose processes have ended, and their cgroups.
remove() {
	local work=$1 group
	while IFS= read -r group; do rmdir "$group" || true; done < <(find /sys/fs/cgroup -depth -type d -path "*/$(basename "$work")*" 2>/dev/null)
	rm -rf --one-file-system "$work"
}

# sweep removes what runs that were killed have left.
sweep() {
	local work
	for work in /var/tmp/tars-engine-*; do
		[ ! -f "$work/owner" ] || kill -0 "$(<"$work/owner")" 2>/dev/null || remove "$work"
	done
}

main() {
	local work debs program
	[ $# -gt 0 ] || die "need a command"
	[ "$(id -u)" = 0 ] || die "needs root; with a Docker engine that answers it is not needed at all"
	for program in apt-get dpkg-deb unshare setpriv ip go; do
		command -v "$program" >/dev/null || die "needs $program"
	done
	sweep
	work=$(mktemp --directory /var/tmp/tars-engine-XXXXXX)
	echo $$ >"$work/owner"
	# shellcheck disable=SC2064 # this folder, whatever the variable holds then
	trap "clean_up '$work'" EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	chmod 755 "$work"
	debs=${ENGINE_DEBS:-$work/debs}
	say "fetching Docker and PostgreSQL from Debian (about 140 MB) into $debs"
	fetch "$work" "$debs"
	mkdir -p "$work/engine" "$work/root/usr/bin" "$work/root/usr/sbin" "$work/root/usr/lib" "$work/root/usr/lib64"
	for program in bin sbin lib lib64; do ln -s "usr/$program" "$work/root/$program"; done
	say "unpacking, ${SECONDS} s"
	unpack "$work/engine" "$debs"/host/*.deb "$debs/$suite"/docker-compose_*.deb
	local base=()
	while IFS= read -r program; do base+=("$debs/$suite/$program"_*.deb); done <"$work/names"
	unpack "$work/root" "${base[@]}"
	say "entering, ${SECONDS} s"
	# In the background, since bash hears of signals only while it waits for such.
	setpriv --pdeathsig KILL unshare --net --mount --pid --fork --kill-child --mount-proc "$0" --inside "$work" "$@" <&0 &
	entered=$!
	wait "$entered"
}

if [ "${1:-}" = --inside ]; then
	shift
	inside "$@"
else
	main "$@"
fi
