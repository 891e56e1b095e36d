"""Acts out the statements that PostgreSQL has not."""

import json
import re
import secrets
import socketserver
import sys
import threading

import psycopg2
from psycopg2 import sql

from . import Refusal, backup, dialect
from .bucket import Collection, redacted


class Work:
    """Statements of clients, by token, until their connections end."""

    def __init__(self, database, schedules):
        self.database, self.schedules = database, schedules
        self.kept, self.lock = {}, threading.Lock()

    def keep(self, user, name, match):
        token = secrets.token_hex(16)
        with self.lock:
            self.kept[token] = (user, name, match)
        return token

    def forget(self, tokens):
        with self.lock:
            for token in tokens:
                self.kept.pop(token, None)

    def answer(self, token):
        """In one line of JSON: rows, or what is wrong."""
        with self.lock:
            user, name, match = self.kept.get(token, (None, None, None))
        try:
            if name is None:
                raise Refusal("no such statement")
            if name != "refuse":
                self.refuse_unless_admin(user, name)
            return {"rows": getattr(self, name)(match, user)}
        except Refusal as refusal:
            return {"error": str(refusal), "state": refusal.state}
        except (psycopg2.Error, OSError) as error:
            print(f"{name}: {type(error).__name__}", file=sys.stderr, flush=True)
            return {"error": f"redrill's stand-in broke down: {type(error).__name__}", "state": "XX000"}

    def refuse_unless_admin(self, user, name):
        admin = self.database.rows("postgres", "SELECT rolsuper FROM pg_roles WHERE rolname = %s", (user,))
        if admin != [(True,)]:
            raise Refusal(f"only users with the admin role are allowed to {name.split('_')[0].upper()}", "42501")

    def refuse(self, refusal, _user):
        raise refusal

    def backup_into(self, match, user):
        return [done(*self.schedules.backup(uri_of(match), user))]

    def backup_to(self, match, user):
        uri = uri_of(match)
        collection = Collection(uri)
        work = lambda: backup.write(self.database, collection, "")  # noqa: E731
        return [done(*self.schedules.job("BACKUP", f"BACKUP TO '{redacted(uri)}'", user, work))]

    def restore_latest(self, match, user):
        collection = Collection(uri_of(match))
        return self.restore(collection, lambda: backup.latest(collection), f"FROM LATEST IN '{redacted(uri_of(match))}'", user)

    def restore_in(self, match, user):
        folder, uri = dialect.unquoted(f"'{match.group(1)}'"), dialect.unquoted(f"'{match.group(2)}'")
        refuse_options(match)
        return self.restore(Collection(uri), lambda: folder.strip("/"), f"FROM '{folder}' IN '{redacted(uri)}'", user)

    def restore_from(self, match, user):
        collection = Collection(uri_of(match))
        return self.restore(collection, lambda: "", f"FROM '{redacted(uri_of(match))}'", user)

    def restore(self, collection, folder, words, user):
        work = lambda: backup.restore(self.database, collection, folder().strip("/"))  # noqa: E731
        return [done(*self.schedules.job("RESTORE", f"RESTORE {words}", user, work))]

    def show_backups(self, match, _user):
        return [{"path": path} for path in backup.subdirectories(Collection(uri_of(match)))]

    def create_schedule(self, match, user):
        found = match.groupdict()
        options = dict(re.findall(r"(\w+)\s*=\s*'([^']*)'", found["options"] or ""))
        label, uri, every = (found[name] and dialect.unquoted(found[name]) for name in ("label", "uri", "every"))
        refuse_options(match)
        if found["full"] not in (None, "ALWAYS", "always"):
            raise Refusal("redrill's stand-in has full backups only: write FULL BACKUP ALWAYS", "0A000")
        return [self.schedules.create(label, uri, every, options.get("first_run"), user)]

    def create_database(self, match, _user):
        name = dialect.unquoted(match.group(1)) if match.group(1).startswith('"') else match.group(1).lower()
        new = name not in self.database.databases()
        if new:
            statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
            backup.execute(self.database, "postgres", statement)
        return [{"created": int(new)}]

    def show_schedules(self, _match, _user):
        return self.schedules.show()

    def show_jobs(self, match, _user):
        wanted = match.group("schedule")
        return [job for job in self.schedules.jobs() if wanted is None or job["schedule_id"] == int(wanted)]

    def pause_schedule(self, match, _user):
        return [{"schedules": self.schedules.change("paused = true", "schedule_id = %s", (match.group(1),))}]

    def resume_schedule(self, match, _user):
        return [{"schedules": self.schedules.resume(match.group(1))}]

    def drop_schedule(self, match, _user):
        return [{"schedules": self.schedules.drop(match.group(1))}]

    def execute_schedule(self, match, _user):
        changed = self.schedules.change("next_run = now()", "schedule_id = %s AND NOT paused", (match.group(1),))
        if not changed:
            raise Refusal("cannot execute a paused schedule; use RESUME SCHEDULE instead")
        return [{"schedules": changed}]

    def run_schedules(self, match, _user):
        where, values = "true", ()
        if match.group("id"):
            where, values = "schedule_id = %s", (match.group("id"),)
        elif match.group("name"):
            where, values = "schedule_name = %s", (dialect.unquoted(match.group("name")),)
        return [{"schedules": self.schedules.change("next_run = now()", where, values)}]


def uri_of(match):
    refuse_options(match)
    return dialect.unquoted(f"'{match.group(1)}'")


def refuse_options(match):
    """What it does not do it does not take, but for what says how to wait."""
    options = (match.groupdict().get("with") or "").strip()
    if options and not re.fullmatch(r"WITH\s+detached", options, re.I):
        raise Refusal("redrill's stand-in takes no options but detached", "0A000")
    if match.groupdict().get("as_of"):
        raise Refusal("redrill's stand-in has no past: leave AS OF SYSTEM TIME out", "0A000")


def done(job, result):
    rows = result if isinstance(result, int) else 0
    return {"job_id": job, "status": "succeeded", "fraction_completed": 1.0, "rows": rows, "index_entries": 0, "bytes": 0}


class Answers(socketserver.ThreadingUnixStreamServer):
    """Where PostgreSQL asks for them."""

    daemon_threads = True

    def __init__(self, path, work):
        self.work = work
        super().__init__(path, Question)


class Question(socketserver.StreamRequestHandler):
    def handle(self):
        token = self.rfile.readline(100).decode().strip()
        self.wfile.write(json.dumps(self.server.work.answer(token), default=str).encode())
