"""The PostgreSQL behind the stand-in: where it is, how it is started, and what is put into it so that clients feel at home."""

import fcntl
import os
import pwd
import secrets
import shlex
import shutil
import subprocess
import sys
import time

import psycopg2

from . import VERSION

PROGRAMS = "/usr/lib/postgresql/15/bin"
# On loopback, for logins with passwords: PostgreSQL itself asks for those. Its socket trusts, and is the stand-in's own.
PASSWORD_PORT = 26256
START = 60  # seconds
OWN = ("template0", "template1", "system")

SETTINGS = f"""
listen_addresses = '127.0.0.1'
port = {PASSWORD_PORT}
unix_socket_permissions = 0700
password_encryption = scram-sha-256
max_connections = 200
timezone = 'UTC'
log_timezone = 'UTC'
shared_buffers = 64MB
# A statement that fails may hold a password.
log_min_error_statement = panic
log_statement = none
"""
HBA = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"

PREPARE = """
GRANT CREATE ON SCHEMA public TO PUBLIC;
CREATE SCHEMA crdb_internal;
GRANT USAGE ON SCHEMA crdb_internal TO PUBLIC;
CREATE VIEW crdb_internal.node_build_info (node_id, field, value) AS
    VALUES (1, 'Name', %(version)s), (1, 'Version', %(version)s), (1, 'Build', 'redrill-stand-in');
GRANT SELECT ON crdb_internal.node_build_info TO PUBLIC;
CREATE FUNCTION crdb_internal.redrill_answer(token text) RETURNS json LANGUAGE plpgsql VOLATILE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE answer json;
BEGIN
    IF token !~ '^[0-9a-f]{32}$' THEN RAISE EXCEPTION 'no such statement'; END IF;
    CREATE TEMPORARY TABLE redrill_answer (line text);
    EXECUTE format('COPY pg_temp.redrill_answer FROM PROGRAM %%L WITH (FORMAT csv, DELIMITER E''\\x01'', QUOTE E''\\x02'', ESCAPE E''\\x02'')',
                   %(program)s || ' ' || token);
    SELECT line INTO answer FROM pg_temp.redrill_answer;
    DROP TABLE pg_temp.redrill_answer;
    IF answer IS NULL THEN RAISE EXCEPTION 'redrill''s stand-in gave no answer'; END IF;
    IF answer ->> 'error' IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = answer ->> 'state', MESSAGE = answer ->> 'error';
    END IF;
    RETURN answer -> 'rows';
END $body$;
"""

STATE = """
CREATE TABLE scheduled_jobs (
    schedule_id bigint PRIMARY KEY, schedule_name text NOT NULL, created timestamptz NOT NULL DEFAULT now(),
    owner text NOT NULL, next_run timestamptz, paused boolean NOT NULL DEFAULT false, schedule_expr text NOT NULL, statement text NOT NULL
);
CREATE TABLE jobs (
    job_id bigint PRIMARY KEY, job_type text NOT NULL, description text NOT NULL, user_name text NOT NULL, status text NOT NULL,
    created timestamptz NOT NULL DEFAULT now(), finished timestamptz, error text NOT NULL DEFAULT '', schedule_id bigint
);
"""


class Database:
    """One PostgreSQL below a store."""

    def __init__(self, store):
        self.data = os.path.join(store, "redrill-stand-in")
        # Not on the volume: a socket's path has to be short, and a volume may be one that takes none.
        self.sockets = "/var/run/redrill-cockroach"
        self.control = os.path.join(self.sockets, "answers")
        self.process = None

    def become_its_owner(self):
        """PostgreSQL refuses to run as root. What only root reads has been read by then."""
        for folder in (self.data, self.sockets):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        if os.geteuid() != 0:
            return
        user = pwd.getpwnam("postgres")
        for folder in (self.data, self.sockets):
            shutil.chown(folder, user.pw_uid, user.pw_gid)
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        os.environ["HOME"] = self.sockets

    def lock(self):
        """Keeps the store to this server, as long as it or its PostgreSQL lives: a pod's successor may begin before the pod has ended."""
        self.held = open(os.path.join(self.data, "LOCK"), "w")
        try:
            fcntl.flock(self.held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"ERROR: could not acquire the lock on {self.held.name}: another server has it")

    def start(self):
        self.lock()
        new = not os.path.exists(os.path.join(self.data, "PG_VERSION"))
        if new:
            # One whose making was cut short is made anew: nobody has written to it.
            self.make()
        stale = os.path.join(self.data, "postmaster.pid")
        if os.path.exists(stale):
            # Of a server that is gone: the lock is this one's.
            os.remove(stale)
        self.process = subprocess.Popen(
            [f"{PROGRAMS}/postgres", "-D", self.data, "-k", self.sockets], start_new_session=True, pass_fds=[self.held.fileno()]
        )
        self.wait()
        self.fill()

    def make(self):
        for entry in (entry for entry in os.listdir(self.data) if entry != "LOCK"):
            path = os.path.join(self.data, entry)
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
        work = os.path.join(self.data, "new")
        subprocess.run(
            [f"{PROGRAMS}/initdb", "-D", work, "-U", "root", "--encoding=UTF8", "--locale=C.UTF-8", "--auth=trust", "--no-instructions", "--no-sync"],
            check=True, stdout=subprocess.DEVNULL,
        )
        with open(os.path.join(work, "postgresql.conf"), "a") as file:
            file.write(SETTINGS)
        with open(os.path.join(work, "pg_hba.conf"), "w") as file:
            file.write(HBA)
        # PG_VERSION last: it is what tells that all of it is there.
        for entry in sorted(os.listdir(work), key=lambda name: name == "PG_VERSION"):
            os.rename(os.path.join(work, entry), os.path.join(self.data, entry))
        os.rmdir(work)

    def wait(self):
        until = time.monotonic() + START
        while True:
            try:
                return self.connect("template1").close()
            except psycopg2.OperationalError:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def fill(self):
        """What a new CockroachDB has. Again at each start until it is complete: `system` is made last."""
        connection = self.connect("postgres")
        with connection.cursor() as cursor:
            cursor.execute("SELECT datname FROM pg_database")
            there = {name for (name,) in cursor}
            if "system" in there:
                return connection.close()
            for database in ("template1", "postgres"):
                self.prepare(database)
            if "defaultdb" not in there:
                cursor.execute("CREATE DATABASE defaultdb")
            cursor.execute("DROP DATABASE IF EXISTS system_new")
            cursor.execute("CREATE DATABASE system_new")
            system = self.connect("system_new")
            with system.cursor() as inside:
                inside.execute(STATE)
            system.close()
            cursor.execute("ALTER DATABASE system_new RENAME TO system")
        connection.close()

    def prepare(self, database):
        here = os.path.dirname(os.path.realpath(__file__))
        program = shlex.join(["/usr/bin/python3", "-I", "-S", os.path.join(here, "answer.py"), self.control])
        connection = self.connect(database)
        with connection.cursor() as cursor:
            cursor.execute("DROP SCHEMA IF EXISTS crdb_internal CASCADE")
            cursor.execute(PREPARE, {"version": VERSION, "program": program})
        connection.close()

    def connect(self, database):
        """As root, on the socket, each statement for itself."""
        connection = psycopg2.connect(host=self.sockets, port=PASSWORD_PORT, user="root", dbname=database)
        connection.autocommit = True
        return connection

    def rows(self, database, sql, values=None):
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                # Without values a `%` in it is a `%`.
                cursor.execute(sql, values or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def databases(self):
        """Those of users, `defaultdb` and `postgres` among them."""
        found = self.rows("postgres", "SELECT datname FROM pg_database ORDER BY oid")
        return [name for (name,) in found if name not in OWN]

    def environment(self):
        return {**os.environ, "PGHOST": self.sockets, "PGPORT": str(PASSWORD_PORT), "PGUSER": "root"}


def number():
    """As unique as those that CockroachDB gives to jobs and schedules, and as long."""
    return secrets.randbelow(8 * 10**17) + 10**17
