"""Schedules of backups, and the jobs that came of them and of statements."""

import sys
import threading
import time
from datetime import datetime, timedelta, timezone

from . import Refusal, backup
from .bucket import Collection
from .database import number

PACE = 0.5  # seconds; the real one looks once a minute unless told otherwise
MACROS = {
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}
RANGES = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]


def next_run(expression, after):
    """The first moment behind `after` (UTC) that a crontab expression names."""
    fields = MACROS.get(expression.strip().lower(), expression).split()
    if len(fields) != 5:
        raise Refusal(f"{expression!r} is not a crontab expression")
    try:
        minutes, hours, days, months, weekdays = [values(field, *limits) for field, limits in zip(fields, RANGES)]
    except ValueError:
        raise Refusal(f"{expression!r} is not a crontab expression") from None
    # Of day and weekday one is enough, unless either is left open.
    either = fields[2] != "*" and fields[4] != "*"
    moment = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
    for _ in range(4 * 366):
        on_day, on_weekday = moment.day in days, (moment.isoweekday() % 7 in weekdays or (moment.isoweekday() == 7 and 7 in weekdays))
        if moment.month in months and (on_day or on_weekday if either else on_day and on_weekday):
            for minute in range(moment.hour * 60 + moment.minute, 24 * 60):
                if minute // 60 in hours and minute % 60 in minutes:
                    return moment.replace(hour=minute // 60, minute=minute % 60)
        moment = (moment + timedelta(days=1)).replace(hour=0, minute=0)
    raise Refusal(f"{expression!r} names no moment")


def values(field, lowest, highest):
    found = set()
    for part in field.split(","):
        part, _, step = part.partition("/")
        if part == "*":
            low, high = lowest, highest
        else:
            low, dash, high = part.partition("-")
            low, high = int(low), int(high) if dash else (highest if step else int(low))
        if not lowest <= low <= high <= highest:
            raise ValueError(field)
        found.update(range(low, high + 1, int(step or 1)))
    return found


class Schedules:
    """Those of one server. State is in its database `system`, so that it lies in the volume."""

    def __init__(self, database):
        self.database = database

    def start(self):
        threading.Thread(target=self.keep, daemon=True).start()

    def keep(self):
        while True:
            try:
                self.run_due()
            except Exception as error:  # whatever one run came to, the next has its turn
                print(f"schedules: {type(error).__name__}", file=sys.stderr, flush=True)
            time.sleep(PACE)

    def system(self, sql, values=None):
        return self.database.rows("system", sql, values)

    def run_due(self):
        due = self.system(
            "SELECT schedule_id, schedule_expr, statement FROM scheduled_jobs WHERE NOT paused AND next_run <= now() ORDER BY next_run"
        )
        for identifier, expression, uri in due:
            self.system(
                "UPDATE scheduled_jobs SET next_run = %s WHERE schedule_id = %s",
                (next_run(expression, datetime.now(timezone.utc)), identifier),
            )
            try:
                self.backup(uri, "root", identifier)
            except Refusal as refusal:
                print(f"scheduled backup: {refusal}", file=sys.stderr, flush=True)

    def backup(self, uri, user, schedule=None):
        from .bucket import redacted

        collection = Collection(uri)
        return self.job("BACKUP", f"BACKUP INTO '{redacted(uri)}'", user, lambda: backup.into(self.database, collection), schedule)

    def job(self, kind, description, user, work, schedule=None):
        """Does it, and leaves a job that tells how it went. Gives the job's number and what it came to."""
        identifier = number()
        self.system(
            "INSERT INTO jobs (job_id, job_type, description, user_name, status, schedule_id) VALUES (%s, %s, %s, %s, 'running', %s)",
            (identifier, kind, description, user, schedule),
        )
        try:
            result = work()
        except Refusal as refusal:
            self.ended(identifier, "failed", str(refusal))
            raise
        except Exception as error:
            # Whatever it is, the client hears of it, and the next statement is served.
            self.ended(identifier, "failed", type(error).__name__)
            raise
        self.ended(identifier, "succeeded", "")
        return identifier, result

    def ended(self, identifier, status, error):
        self.system("UPDATE jobs SET status = %s, finished = now(), error = %s WHERE job_id = %s", (status, error, identifier))

    def create(self, label, uri, expression, first, user):
        """Adds one; the row that the statement answers with."""
        from .bucket import redacted

        Collection(uri)
        now = datetime.now(timezone.utc)
        due = now if first == "now" else next_run(expression, now)
        if first not in ("now", None):
            due = moment(first)
        identifier = number()
        label = label or f"BACKUP {int(time.time())}"
        self.system(
            "INSERT INTO scheduled_jobs (schedule_id, schedule_name, owner, next_run, schedule_expr, statement) VALUES (%s, %s, %s, %s, %s, %s)",
            (identifier, label, user, due, expression, uri),
        )
        return {
            "schedule_id": identifier, "label": label, "status": "ACTIVE", "first_run": due.isoformat(sep=" "),
            "schedule": expression, "backup_stmt": f"BACKUP INTO '{redacted(uri)}' WITH detached",
        }

    def show(self):
        from .bucket import redacted

        found = self.system("SELECT schedule_id, schedule_name, paused, next_run, schedule_expr, owner, created, statement FROM scheduled_jobs ORDER BY created")
        return [
            {
                "id": identifier, "label": label, "schedule_status": "PAUSED" if paused else "ACTIVE",
                "next_run": None if paused else due and due.isoformat(sep=" "), "state": None, "recurrence": expression, "jobsrunning": 0,
                "owner": owner, "created": created.isoformat(sep=" "),
                "command": {"backup_statement": f"BACKUP INTO '{redacted(uri)}' WITH detached", "backup_type": 0},
            }
            for identifier, label, paused, due, expression, owner, created, uri in found
        ]

    def jobs(self):
        found = self.system("SELECT job_id, job_type, description, user_name, status, created, finished, error, schedule_id FROM jobs ORDER BY created DESC")
        return [
            {
                "job_id": identifier, "job_type": kind, "description": description, "statement": "", "user_name": user, "status": status,
                "running_status": None, "created": created.isoformat(sep=" "), "started": created.isoformat(sep=" "),
                "finished": finished and finished.isoformat(sep=" "), "fraction_completed": 1.0 if status == "succeeded" else 0.0,
                "error": error, "schedule_id": schedule,
            }
            for identifier, kind, description, user, status, created, finished, error, schedule in found
        ]

    def change(self, what, where, values):
        """How many were changed; refuses when a single one was named that is not there."""
        found = self.system(f"UPDATE scheduled_jobs SET {what} WHERE {where} RETURNING schedule_id", values)
        return len(found)

    def resume(self, identifier):
        found = self.system("SELECT schedule_expr FROM scheduled_jobs WHERE schedule_id = %s", (identifier,))
        for (expression,) in found:
            due = next_run(expression, datetime.now(timezone.utc))
            self.change("paused = false, next_run = %s", "schedule_id = %s", (due, identifier))
        return len(found)

    def drop(self, identifier):
        return len(self.system("DELETE FROM scheduled_jobs WHERE schedule_id = %s RETURNING schedule_id", (identifier,)))


def moment(text):
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise Refusal(f"first_run: {text!r} is no moment") from None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
