# What the programs of this image share. Sourced; the caller has set -euo pipefail.

# from_file NAME...: gives NAME the content of the file that NAME_FILE names, where that is set.
from_file() {
    local name file
    for name in "$@"; do
        file="${name}_FILE"
        if [[ -n ${!file:-} ]]; then
            export "$name=$(<"${!file}")"
        fi
        : "${!name:?neither $name nor ${name}_FILE is set}"
    done
}

prepare_aws() {
    from_file AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
}

# Puts the database's password where libpq finds it: never in an argument.
prepare_postgres() {
    from_file POSTGRES_DB POSTGRES_USER POSTGRES_PASSWORD
    : "${POSTGRES_SERVICE:?}" "${POSTGRES_PORT:=5432}"
    PGPASSFILE=$(umask 077 && mktemp)
    export PGPASSFILE
    trap 'rm -f "$PGPASSFILE"' EXIT
    # In a password file, backslash and colon are written with a backslash before them.
    local password=${POSTGRES_PASSWORD//\\/\\\\}
    printf '%s:%s:*:%s:%s\n' "$POSTGRES_SERVICE" "$POSTGRES_PORT" "$POSTGRES_USER" "${password//:/\\:}" > "$PGPASSFILE"
}

# in_repository NAME ARGUMENT...: restic on one of the two repositories. The password is in RESTIC_PASSWORD_FILE,
# which restic reads itself.
in_repository() {
    local name=$1
    shift
    restic --repo "${RESTIC_REPOSITORY:?}/$name" "$@"
}

init_repository() {
    in_repository "$1" cat config > /dev/null 2>&1 || in_repository "$1" init
}

unlock_repository() {
    in_repository "$1" unlock --cleanup-cache
}

forget_old() {
    in_repository "$1" forget --keep-last 1 --keep-within "${RESTIC_DAYS_TO_KEEP:-30}d" --prune
}

# psql_on DATABASE ARGUMENT...
psql_on() {
    local database=$1
    shift
    psql --dbname "$database" --host "$POSTGRES_SERVICE" --port "$POSTGRES_PORT" --username "$POSTGRES_USER" \
        --no-password "$@"
}
