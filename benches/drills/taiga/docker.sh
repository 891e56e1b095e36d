#!/usr/bin/env bash
# A drill of Taiga by hand: what a team's own script would do with docker's command, on the images that redrill has built. The measure
# of what a drill on `docker` costs.
#
# The system comes up, is seeded, backed up, loses both volumes, comes back as the page says, and is held against what it was. Neither
# the writer, nor the nonces, nor credentials, the schema's objects, objectives or reports are there.
set -euo pipefail

name=redrill-by-hand-$$
label=redrill-by-hand=$name
folder=$(mktemp --directory)
password=throwaway-by-hand-3Xw

image() {
    docker images --filter "label=redrill.image=$1" --format '{{.Repository}}:{{.Tag}}' | grep "^redrill/$1:" | head -n 1
}

clean_up() {
    docker ps --all --quiet --filter "label=$label" | xargs --no-run-if-empty docker rm --force --volumes
    docker volume ls --quiet --filter "label=$label" | xargs --no-run-if-empty docker volume rm
    docker network rm "$name"
    rm -rf "$folder"
} > /dev/null
trap clean_up EXIT

# begin NAME ALIAS OPTION...: a container in the drill's network that stays.
begin() {
    docker run --detach --name "$name-$1" --label "$label" --network "$name" --network-alias "$2" "${@:3}" > /dev/null
}

# until_done WHAT COMMAND...: looks until it is so.
until_done() {
    local what=$1 end=$((SECONDS + 60))
    shift
    until "$@" > /dev/null 2>&1; do
        ((SECONDS < end)) || { echo "not within 60 s: $what" >&2; exit 1; }
        sleep 0.1
    done
}

answers() {
    until_done "$1 answers" docker exec "$name-$1" \
        python3 -c "import urllib.request as r; r.urlopen('http://127.0.0.1:$2/health')"
}

volumes() {
    for volume in db media; do
        docker volume create --label "$label" "$name-$volume" > /dev/null
    done
}

login=(--env POSTGRES_USER=taiga --env POSTGRES_PASSWORD="$password" --env POSTGRES_DB=taiga)
media=$name-media

database() {
    begin postgres postgresql-service "${login[@]}" --env PGDATA=/var/lib/postgresql/data/db \
        --volume "$name-db:/var/lib/postgresql/data" "$(image postgres)"
    until_done 'PostgreSQL answers' docker exec "$name-postgres" pg_isready --quiet --host=127.0.0.1
}

application() {
    begin back taiga-back-service "${login[@]}" --env POSTGRES_HOST=postgresql-service --env POSTGRES_PORT=5432 \
        --env REPORT_USER=taiga_readonly --env REPORT_PASSWORD="$password" --volume "$media:/taiga-back/media" "$(image taiga-back)"
    begin front taiga-front-service --env TAIGA_URL=https://taiga.example \
        --env TAIGA_WEBSOCKETS_URL=wss://taiga.example "$(image taiga-front)"
    begin gateway taiga-gateway-service --volume "$folder/conf.d:/etc/nginx/conf.d:ro" \
        --volume "$media:/taiga/media:ro" "$(image taiga-gateway)"
    answers back 8000
    answers front 80
    answers gateway 80
}

sql() { docker exec --interactive "$name-postgres" psql -X -q -A -t -v ON_ERROR_STOP=1 -U taiga -d taiga; }

second_role() { echo "CREATE ROLE taiga_readonly LOGIN PASSWORD '$password';" | sql; }

backup_program() {
    docker run --rm --label "$label" --network "$name" "${login[@]}" --env POSTGRES_SERVICE=postgresql-service \
        --env AWS_DEFAULT_REGION=eu-central-1 --env AWS_ACCESS_KEY_ID=THROWAWAYKEY --env AWS_SECRET_ACCESS_KEY="$password" \
        --env RESTIC_REPOSITORY=s3:http://s3/taiga-backups/taiga --env RESTIC_PASSWORD_FILE=/run/restic-password \
        --volume "$folder/restic-password:/run/restic-password:ro" --volume "$media:/media" \
        "$(image taiga-backup)" "$1" > "$folder/log" 2>&1 || { cat "$folder/log" >&2; exit 1; }
}

fingerprint() {
    echo "SELECT count(*), md5(string_agg(items::text, ',' ORDER BY id)) FROM items;" | sql
    docker exec "$name-back" sh -c 'cd /taiga-back/media && find user -type f | sort | xargs sha256sum' | sha256sum
}

mkdir "$folder/conf.d"
cat > "$folder/conf.d/default.conf" <<'CONF'
server {
    listen 80 default_server;

    location / {
        proxy_pass http://taiga-front-service;
    }

    location /api/ {
        proxy_pass http://taiga-back-service:8000/api/;
    }
}
CONF
printf %s "$password" > "$folder/restic-password"
docker network create --internal --label "$label" "$name" > /dev/null
docker volume create --label "$label" "$name-objects" > /dev/null
begin s3 s3 --env REDRILL_S3_ACCESS_KEY=THROWAWAYKEY --env REDRILL_S3_SECRET_KEY="$password" --volume "$name-objects:/objects" \
    --entrypoint redrill "$(image redrill)" __s3 --listen 0.0.0.0:80 --root /objects --buckets taiga-backups
volumes
database
second_role
application

# As much as redrill seeds: 4 MiB.
sql <<'SQL'
CREATE TABLE items (id bigint PRIMARY KEY, content text NOT NULL);
INSERT INTO items SELECT i, repeat(md5(i::text), 32) FROM generate_series(1, 2000) AS i;
GRANT SELECT ON items TO taiga_readonly;
SQL
docker exec "$name-back" sh -c 'mkdir -p /taiga-back/media/user && cd /taiga-back/media/user &&
    for i in $(seq 20); do head -c 104857 /dev/urandom > "$i"; done && chown -R 999:999 .'
before=$(fingerprint)

backup_program backup.bb

docker rm --force "$name-postgres" "$name-back" "$name-front" "$name-gateway" > /dev/null
docker volume rm "$name-db" "$name-media" > /dev/null

volumes
database
second_role
backup_program restore.bb
application

[ "$before" = "$(fingerprint)" ] || { echo 'not what it was' >&2; exit 1; }
