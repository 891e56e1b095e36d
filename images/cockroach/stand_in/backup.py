"""BACKUP and RESTORE of everything, acted out over a bucket: dumps of PostgreSQL below the names of a collection."""

import json
import os
import subprocess
import tempfile
from datetime import datetime, timezone

import psycopg2
from psycopg2 import sql

from . import VERSION, Refusal
from .database import PROGRAMS

MANIFEST = "BACKUP_MANIFEST"
LATEST = "metadata/latest/LATEST"
FORMAT = "redrill-stand-in-1"
# What every database has from the start.
GIVEN = ("defaultdb", "postgres")
SHOWN = 20  # names in a refusal


def into(database, collection):
    """BACKUP INTO: below a name made of the time. Gives that name."""
    now = datetime.now(timezone.utc)
    name = now.strftime("%Y/%m/%d-%H%M%S.") + f"{now.microsecond // 10000:02d}"
    write(database, collection, name)
    collection.write(LATEST, f"/{name}".encode(), len(name) + 1)
    return f"/{name}"


def write(database, collection, folder):
    """A full backup below `folder` of the collection; what makes it one, the manifest, last."""
    if f"{folder}/{MANIFEST}".lstrip("/") in collection.list():
        raise Refusal(f"{collection.name(folder)} already contains a {MANIFEST} file")
    databases = database.databases()
    for number, name in enumerate(databases):
        with tempfile.TemporaryFile() as file:
            dump = [f"{PROGRAMS}/pg_dump", "-Fc", "-Z1", "--exclude-schema=crdb_internal", "--dbname", name]
            run(dump, database, "dump", stdout=file)
            # Not where pg_dump stopped: it goes back to note where things are.
            length = os.fstat(file.fileno()).st_size
            file.seek(0)
            collection.write(f"{folder}/data/{number}.dump", file, length)
    manifest = {"format": FORMAT, "by": VERSION, "databases": owners(database, databases), **roles(database)}
    text = json.dumps(manifest).encode()
    collection.write(f"{folder}/{MANIFEST}", text, len(text))


def owners(database, names):
    found = dict(database.rows("postgres", "SELECT datname, pg_get_userbyid(datdba) FROM pg_database"))
    return [[name, found[name]] for name in names]


def roles(database):
    """Every role with its verifier, and who is a member of what."""
    found = database.rows(
        "postgres",
        "SELECT rolname, rolpassword, rolsuper, rolcreatedb, rolcreaterole, rolcanlogin FROM pg_authid"
        " WHERE rolname NOT LIKE 'pg\\_%' AND rolname <> 'root' ORDER BY rolname",
    )
    root = database.rows("postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = 'root'")[0][0]
    members = database.rows(
        "postgres", "SELECT pg_get_userbyid(roleid), pg_get_userbyid(member), admin_option FROM pg_auth_members WHERE roleid >= 16384"
    )
    return {"roles": found, "root": root, "members": members}


def latest(collection):
    """The subdirectory that was written last."""
    try:
        return collection.text(LATEST)
    except Refusal as refusal:
        if "does not exist" not in str(refusal):
            raise
        raise Refusal("path does not contain a completed latest backup: external_storage: file doesn't exist") from None


def subdirectories(collection):
    found = [name[: -len(MANIFEST) - 1] for name in collection.list() if name.endswith(f"/{MANIFEST}")]
    return sorted(f"/{name}" for name in found)


def restore(database, collection, folder):
    """RESTORE of everything below `folder`; the number of rows that came."""
    manifest = read_manifest(collection, folder)
    refuse_unless_empty(database)
    make_roles(database, manifest)
    there = set(database.databases())
    for number, (name, owner) in enumerate(manifest["databases"]):
        if name not in there:
            execute(database, "postgres", sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        execute(database, "postgres", sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(name), sql.Identifier(owner)))
        with tempfile.NamedTemporaryFile() as file:
            collection.read(f"{folder}/data/{number}.dump", file)
            file.flush()
            run([f"{PROGRAMS}/pg_restore", "--exit-on-error", "--dbname", name, file.name], database, "restore")
    return sum(count(database, name) for name, _ in manifest["databases"])


def read_manifest(collection, folder):
    text = collection.text(f"{folder}/{MANIFEST}")
    try:
        manifest = json.loads(text)
    except ValueError:
        manifest = {}
    if manifest.get("format") != FORMAT:
        raise Refusal("not a backup of redrill's stand-in: only what it wrote itself can be read")
    return manifest


def refuse_unless_empty(database):
    found = []
    for name in database.databases():
        if name not in GIVEN:
            found += [name, "public"]
        tables = database.rows(
            name,
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S')"
            " AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'crdb_internal') AND n.nspname NOT LIKE 'pg\\_temp%' ORDER BY c.oid",
        )
        found += [table for (table,) in tables]
    if found:
        raise Refusal(
            "full cluster restore can only be run on a cluster with no tables or databases"
            f" but found {len(found)} descriptors: {', '.join(found[:SHOWN])}"
        )


def make_roles(database, manifest):
    there = {name for (name,) in database.rows("postgres", "SELECT rolname FROM pg_roles")}
    for name, verifier, superuser, databases, others, login in manifest["roles"]:
        options = [
            word if given else f"NO{word}"
            for word, given in [("SUPERUSER", superuser), ("CREATEDB", databases), ("CREATEROLE", others), ("LOGIN", login)]
        ]
        verb = "ALTER" if name in there else "CREATE"
        statement = sql.SQL(f"{verb} ROLE {{}} WITH {' '.join(options)} PASSWORD {{}}")
        execute(database, "postgres", statement.format(sql.Identifier(name), sql.Literal(verifier)))
    execute(database, "postgres", sql.SQL("ALTER ROLE root PASSWORD {}").format(sql.Literal(manifest["root"])))
    for role, member, admin in manifest["members"]:
        grant = "GRANT {} TO {}" + (" WITH ADMIN OPTION" if admin else "")
        execute(database, "postgres", sql.SQL(grant).format(sql.Identifier(role), sql.Identifier(member)))


def execute(database, name, statement):
    connection = database.connect(name)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    except psycopg2.Error as error:
        # The statement may hold a verifier: of the error only what PostgreSQL calls its message.
        raise Refusal(f"redrill's stand-in: {error.diag.message_primary}") from None
    finally:
        connection.close()


def count(database, name):
    tables = database.rows(
        name,
        "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables"
        " WHERE schemaname NOT IN ('pg_catalog', 'information_schema', 'crdb_internal')",
    )
    return sum(database.rows(name, f"SELECT count(*) FROM {table}")[0][0] for (table,) in tables)


def run(argv, database, what, stdout=subprocess.DEVNULL):
    done = subprocess.run(argv, env=database.environment(), stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise Refusal(f"redrill's stand-in cannot {what}: {said[0] if said else os.path.basename(argv[0])}")
