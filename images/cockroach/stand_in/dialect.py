"""What CockroachDB says and PostgreSQL does not: recognised, and put into words that PostgreSQL has."""

import re

from . import VERSION, Refusal

TEXT = r"'((?:[^']|'')*)'"
# Comments and everything that may hold a `;` or a keyword without meaning it.
TOKENS = re.compile(
    r"--[^\n]*|/\*.*?\*/|[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$(\w*)\$.*?\$\1\$|;|\s+|\w+|.", re.S
)

# Columns of what the statements answer with.
BACKED_UP = "job_id bigint, status text, fraction_completed float8, rows bigint, index_entries bigint, bytes bigint"
SCHEDULE = "schedule_id bigint, label text, status text, first_run timestamptz, schedule text, backup_stmt text"
SCHEDULES = (
    "id bigint, label text, schedule_status text, next_run timestamptz, state text, recurrence text, jobsrunning bigint,"
    " owner text, created timestamptz, command jsonb"
)
JOBS = (
    "job_id bigint, job_type text, description text, statement text, user_name text, status text, running_status text,"
    " created timestamptz, started timestamptz, finished timestamptz, fraction_completed float8, error text, schedule_id bigint"
)
CHANGED = "schedules bigint"

# What the server acts out: name, form, columns of the answer.
ACTED = [
    ("backup_into", rf"BACKUP\s+INTO\s+{TEXT}(?P<as_of>\s+AS\s+OF\s+SYSTEM\s+TIME\s+\S+)?(?P<with>\s+WITH\s+.+)?", BACKED_UP),
    ("backup_to", rf"BACKUP\s+TO\s+{TEXT}(?P<as_of>\s+AS\s+OF\s+SYSTEM\s+TIME\s+\S+)?(?P<with>\s+WITH\s+.+)?", BACKED_UP),
    ("restore_latest", rf"RESTORE\s+FROM\s+LATEST\s+IN\s+{TEXT}(?P<with>\s+WITH\s+.+)?", BACKED_UP),
    ("restore_in", rf"RESTORE\s+FROM\s+{TEXT}\s+IN\s+{TEXT}(?P<with>\s+WITH\s+.+)?", BACKED_UP),
    ("restore_from", rf"RESTORE\s+FROM\s+{TEXT}(?P<with>\s+WITH\s+.+)?", BACKED_UP),
    ("show_backups", rf"SHOW\s+BACKUPS\s+IN\s+{TEXT}", "path text"),
    (
        "create_schedule",
        rf"CREATE\s+SCHEDULE\s+(?:IF\s+NOT\s+EXISTS\s+)?(?P<label>(?!FOR\b)(?:\w+|{TEXT}|\"[^\"]+\")\s+)?FOR\s+BACKUP\s+INTO\s+(?P<uri>{TEXT})"
        rf"(?P<with>\s+WITH\s+(?!SCHEDULE\b).+?)?\s+RECURRING\s+(?P<every>{TEXT})"
        rf"(?:\s+FULL\s+BACKUP\s+(?P<full>ALWAYS|{TEXT}))?(?:\s+WITH\s+SCHEDULE\s+OPTIONS\s+(?P<options>.+))?",
        SCHEDULE,
    ),
    ("create_database", rf"CREATE\s+DATABASE\s+IF\s+NOT\s+EXISTS\s+(\w+|\"[^\"]+\")", "created bigint"),
    ("show_schedules", r"SHOW\s+SCHEDULES(?:\s+FOR\s+BACKUP)?", SCHEDULES),
    ("show_jobs", r"SHOW\s+JOBS(?:\s+FOR\s+SCHEDULE\s+(?P<schedule>\d+))?", JOBS),
    ("pause_schedule", r"PAUSE\s+SCHEDULE\s+(\d+)", CHANGED),
    ("resume_schedule", r"RESUME\s+SCHEDULE\s+(\d+)", CHANGED),
    ("drop_schedule", r"DROP\s+SCHEDULE\s+(\d+)", CHANGED),
    ("execute_schedule", r"ALTER\s+BACKUP\s+SCHEDULE\s+(\d+)\s+EXECUTE\s+(?:FULL\s+)?IMMEDIATELY", CHANGED),
    (
        "run_schedules",
        r"UPDATE\s+system\.(?:public\.)?scheduled_jobs\s+SET\s+next_run\s*=\s*now\(\)(?:::\s*TIMESTAMP(?:TZ)?)?"
        rf"(?:\s+WHERE\s+(?:schedule_id\s*=\s*(?P<id>\d+)|schedule_name\s*=\s*(?P<name>{TEXT})))?",
        CHANGED,
    ),
]
ACTED = [(name, re.compile(form, re.I | re.S), columns) for name, form, columns in ACTED]

PUT = [
    (r"SHOW\s+DATABASES", "SELECT datname AS database_name, pg_get_userbyid(datdba) AS owner FROM pg_database"
        " WHERE datname NOT IN ('template0', 'template1') ORDER BY 1"),
    (r"SHOW\s+TABLES", "SELECT n.nspname AS schema_name, c.relname AS table_name, CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN"
        " 'materialized view' WHEN 'S' THEN 'sequence' ELSE 'table' END AS type, pg_get_userbyid(c.relowner) AS owner FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND n.nspname NOT LIKE 'pg!_%' ESCAPE '!'"
        " AND n.nspname NOT IN ('information_schema', 'crdb_internal') ORDER BY 1, 2"),
    (r"SHOW\s+(?:USERS|ROLES)", "SELECT rolname AS username FROM pg_roles WHERE rolname NOT LIKE 'pg!_%' ESCAPE '!' ORDER BY 1"),
    (r"SHOW\s+DATABASE", "SELECT current_database() AS database"),
    (r"SHOW\s+crdb_version", "SELECT " + "'" + VERSION.replace("'", "''") + "' AS crdb_version"),
    (r"SELECT\s+version\s*\(\s*\)", "SELECT " + "'" + VERSION.replace("'", "''") + "' AS version"),
    # Half of a table, as the prober takes it away.
    (r"DELETE\s+FROM\s+(.+?)\s+WHERE\s+true\s+LIMIT\s+(\d+)", r"DELETE FROM \1 WHERE ctid = ANY (ARRAY(SELECT ctid FROM \1 LIMIT \2))"),
    (r"CREATE\s+(?:USER|ROLE)\s+IF\s+NOT\s+EXISTS\s+(.+)",
        r"DO $redrill$ BEGIN CREATE USER \1; EXCEPTION WHEN duplicate_object THEN NULL; END $redrill$"),
    # The role that may do all.
    (r"GRANT\s+admin\s+TO\s+(\S+)", r"ALTER ROLE \1 SUPERUSER CREATEDB CREATEROLE"),
    (r"REVOKE\s+admin\s+FROM\s+(\S+)", r"ALTER ROLE \1 NOSUPERUSER"),
    (r"SHOW\s+TRANSACTION\s+STATUS", "SELECT 'NoTxn' AS \"TRANSACTION STATUS\""),
    # Taken without effect: nothing here goes by them.
    (r"SET\s+CLUSTER\s+SETTING\s+.+", "SET redrill.ignored = 'a cluster setting'"),
]
PUT = [(re.compile(form, re.I | re.S), words) for form, words in PUT]

# Begins like one of the above and is none of them: never handed on to be refused with words that mislead.
FOREIGN = re.compile(r"(BACKUP|RESTORE)\b|(CREATE|ALTER|DROP|PAUSE|RESUME)\s+(BACKUP\s+)?SCHEDULES?\b|SHOW\s+BACKUPS?\b", re.I)


def statements(text):
    """A text cut at the `;` that end statements; comments left out, and statements that are nothing but that."""
    found, current = [], []
    for match in TOKENS.finditer(text):
        token = match.group()
        if token == ";":
            found.append("".join(current))
            current = []
        elif token.startswith("--") or token.startswith("/*"):
            current.append(" ")
        else:
            current.append(token)
    return [statement.strip() for statement in [*found, "".join(current)] if statement.strip()]


def is_complete(text):
    """Whether the last thing in a text, but for blanks and comments, is a `;` that ends a statement."""
    last = ""
    for match in TOKENS.finditer(text):
        token = match.group()
        if token.strip() and not token.startswith(("--", "/*")):
            last = token
    return last == ";"


def unquoted(literal):
    """The text of a literal, or of a name."""
    literal = literal.strip()
    return literal[1:-1].replace("''", "'") if literal[:1] in ("'", '"') else literal


def translate(text, keep):
    """A client's text as PostgreSQL takes it. `keep` remembers what is to be acted out, and gives the token for it."""
    found = statements(text)
    translated = [one(statement, keep) for statement in found]
    if translated == found:
        return text
    return ";\n".join(translated)


def one(statement, keep):
    acted = act(statement, keep)
    if acted:
        return f"SELECT * FROM {acted}"
    for form, words in PUT:
        match = form.fullmatch(statement)
        if match:
            return match.expand(words)
    if FOREIGN.match(statement):
        raise Refusal(f"redrill's stand-in does not have this form of {' '.join(statement.split()[:2]).upper()}", "0A000")
    # A statement as the source of rows, in brackets.
    return re.sub(r"\[\s*(SHOW\s+[^\]]+?)\s*\]", lambda match: f"({one(match.group(1), keep)}) AS shown", statement, flags=re.I)


def act(statement, keep):
    for name, form, columns in ACTED:
        match = form.fullmatch(statement)
        if match:
            token = keep(name, match)
            return f"json_to_recordset(crdb_internal.redrill_answer('{token}')) AS answer ({columns})"
    return None
