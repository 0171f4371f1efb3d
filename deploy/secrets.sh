#!/bin/sh
# Makes what docker-compose.yml needs to know and nobody else may: secrets.sh [DIR]
#
#   DIR/.env                passwords of the database, read by compose
#   DIR/.secrets/admin.key  the operator's token
#   DIR/.secrets/kek        the key-encryption key; back it up with the database
#
# DIR is by default the top of the repository. What is there is kept: it may be
# repeated. An interrupted run leaves no half of a file.
set -eu
umask 077
dir=${1:-$(dirname "$0")/..}

hexadecimal() { od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n'; }

# once FILE MODE: takes FILE from standard input, unless it is there.
once() {
	if [ -e "$1" ]; then
		cat >/dev/null
		return
	fi
	cat >"$1.new"
	chmod "$2" "$1.new"
	mv "$1.new" "$1"
	echo "secrets: made $1" >&2
}

mkdir -p "$dir/.secrets"
chmod 700 "$dir/.secrets"
once "$dir/.env" 600 <<-END
	POSTGRES_PASSWORD=$(hexadecimal)
	TARS_APP_PASSWORD=$(hexadecimal)
	TARS_JOBS_PASSWORD=$(hexadecimal)
END
# Readable by all in a folder that only the owner can enter: see docker-compose.yml.
hexadecimal | once "$dir/.secrets/admin.key" 444
head -c 32 /dev/urandom | base64 | once "$dir/.secrets/kek" 444
