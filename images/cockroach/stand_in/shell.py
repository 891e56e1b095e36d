"""`cockroach sql`: a shell that is typed into as into the real one's, over psycopg2."""

import getpass
import os
import re
import subprocess
import sys

import psycopg2
import psycopg2.extras

from . import SQL_PORT, VERSION, address, dialect, parser
from .server import too_open

BANNER = f"""#
# {VERSION}.
# All statements must be terminated by a semicolon.
# To exit, type: \\q.
#
# Enter \\? for a brief introduction.
#"""
HELP = """redrill's stand-in knows \\q, \\?, \\echo, \\!, \\set prompt1, \\l, \\dt, \\du and statements that end in a semicolon."""
SHORT = {"\\l": "SHOW DATABASES", "\\dt": "SHOW TABLES", "\\d": "SHOW TABLES", "\\du": "SHOW USERS"}
PROMPT = "%n@%M/%/%x>"


class Shell:
    def __init__(self, connection, host, secret, interactive):
        self.connection, self.host, self.secret, self.interactive = connection, host, secret, interactive
        self.prompt, self.failed = PROMPT, False

    def statement(self, text):
        """Runs one statement; prints what came, or why not."""
        if use := re.fullmatch(r"(?:USE|SET\s+DATABASE\s*=)\s*(\S+)", text, re.I):
            return self.use(dialect.unquoted(use.group(1)))
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(text)
                self.show(cursor)
            self.failed = False
        except psycopg2.Error as error:
            self.failed = True
            print(complaint(error), file=sys.stderr, flush=True)
            if self.connection.closed:
                raise SystemExit(1) from None

    def use(self, name):
        """Goes to another database. PostgreSQL's sessions stay where they are, so it takes another one."""
        try:
            connection = psycopg2.connect(self.connection.dsn, dbname=name, **self.secret)
        except psycopg2.OperationalError as error:
            self.failed = True
            print(f"ERROR: {str(error).strip()}", file=sys.stderr, flush=True)
            return
        connection.autocommit = True
        self.connection.close()
        self.connection, self.failed = connection, False
        print("SET", flush=True)

    def show(self, cursor):
        if cursor.description is None:
            print(cursor.statusmessage, flush=True)
            return
        names = [column.name for column in cursor.description]
        rows = [["NULL" if value is None else text_of(value) for value in row] for row in cursor]
        if not self.interactive:
            print("\n".join("\t".join(row) for row in [names, *rows]), flush=True)
            return
        widths = [max(len(row[at]) for row in [names, *rows]) for at in range(len(names))]
        line = lambda row: "  " + " | ".join(value.ljust(width) for value, width in zip(row, widths)).rstrip()  # noqa: E731
        print(line(names))
        print("-" + "+".join("-" * (width + 2) for width in widths)[1:] + "-")
        for row in rows:
            print(line(row))
        print(f"({len(rows)} row{'' if len(rows) == 1 else 's'})\n", flush=True)

    def full_prompt(self):
        info = self.connection.info
        status = {psycopg2.extensions.TRANSACTION_STATUS_INTRANS: "  OPEN", psycopg2.extensions.TRANSACTION_STATUS_INERROR: " ERROR"}
        known = {
            "%n": info.user, "%m": self.host, "%M": f"{self.host}:{info.port}", "%>": str(info.port), "%/": info.dbname,
            "%x": status.get(info.transaction_status, ""), "%%": "%",
        }
        return re.sub("%.", lambda match: known.get(match.group(), ""), self.prompt) + " "

    def interact(self):
        """Until it is left; the status of the last statement is the program's."""
        print(BANNER, flush=True)
        lines = []
        while True:
            full = self.full_prompt()
            print(" " * (len(full) - 3) + "-> " if lines else full, end="", flush=True)
            try:
                line = sys.stdin.readline()
            except KeyboardInterrupt:
                print("^C", flush=True)
                lines = []
                continue
            if not line:
                return self.failed
            line = line.rstrip("\n")
            if not lines and line.strip() in ("", "exit", "quit", "help"):
                if line.strip() in ("exit", "quit"):
                    return self.failed
                continue
            if line.startswith("\\"):
                if self.command(line):
                    return self.failed
                continue
            lines.append(line)
            if dialect.is_complete("\n".join(lines)):
                text, lines = "\n".join(lines), []
                self.run(text)
            elif not dialect.statements("\n".join(lines)):
                lines = []

    def run(self, text):
        """Statements one after the other, as far as they go."""
        for statement in dialect.statements(text):
            try:
                self.statement(statement)
            except KeyboardInterrupt:
                self.connection.cancel()
                self.failed = True
            if self.failed:
                return

    def command(self, line):
        """A command of the shell itself; whether it leaves."""
        name, _, rest = line.rstrip("; ").partition(" ")
        if name in ("\\q", "\\quit", "\\exit"):
            return True
        if name == "\\!":
            subprocess.run(["/bin/sh", "-c", rest])
        elif name == "\\echo":
            print(" ".join(rest.split()), flush=True)
        elif name == "\\set" and (found := re.fullmatch(r"\s*prompt1[\s=]+(.+)", rest)):
            self.prompt = found.group(1).strip().strip("'\"")
        elif name in ("\\?", "\\help"):
            print(HELP, flush=True)
        elif name in SHORT and not rest:
            self.statement(SHORT[name])
        else:
            print(f"invalid syntax: {line}. Try \\? for help.", file=sys.stderr, flush=True)
            self.failed = True
        return False


def text_of(value):
    if isinstance(value, bool):
        return "t" if value else "f"
    return bytes(value).hex() if isinstance(value, memoryview) else str(value)


def complaint(error):
    message = error.diag.message_primary or str(error).strip()
    parts = [f"ERROR: {message}"]
    parts += [f"SQLSTATE: {error.pgcode}"] if error.pgcode else []
    parts += [f"DETAIL: {error.diag.message_detail}"] if error.diag.message_detail else []
    return "\n".join(parts)


def options(arguments):
    known = parser("sql")
    known.add_argument("--certs-dir", default=os.path.expanduser("~/.cockroach-certs"))
    known.add_argument("--host", default="localhost")
    known.add_argument("--port", "-p", default=str(SQL_PORT))
    known.add_argument("--user", "-u", default="root")
    known.add_argument("--database", "-d", default="defaultdb")
    known.add_argument("--execute", "-e", action="append", default=[])
    known.add_argument("--file", "-f")
    known.add_argument("--insecure", action="store_true")
    known.add_argument("--url", default=os.environ.get("COCKROACH_URL", ""))
    known.add_argument("--format", choices=["tsv", "table"])
    return known.parse_args(arguments)


def connect(given):
    """Gives the connection, the host as it was named, and the password where there is one."""
    if given.url:
        connection = psycopg2.connect(given.url)
        return connection, connection.info.host, {}
    host, port = address(given.host, "localhost", given.port)
    target = {"host": host, "port": port, "user": given.user, "dbname": given.database, "application_name": "$ cockroach sql"}
    if given.insecure:
        return psycopg2.connect(**target, sslmode="disable"), host, {}
    path = lambda name: os.path.join(given.certs_dir, name)  # noqa: E731
    if not os.path.exists(path("ca.crt")):
        sys.exit("ERROR: cannot load certificates.\nCheck your certificate settings, set --certs-dir, or use --insecure for insecure clusters.")
    target |= {"sslmode": "verify-full", "sslrootcert": path("ca.crt")}
    certificate, key = path(f"client.{given.user}.crt"), path(f"client.{given.user}.key")
    if os.path.exists(certificate) and os.path.exists(key):
        if wrong := too_open(key):
            sys.exit(f"ERROR: cannot load certificates.\n{wrong}")
        return psycopg2.connect(**target, sslcert=certificate, sslkey=key), host, {}
    # None of its own: libpq would look in the person's home.
    target |= {"sslcert": "", "sslkey": ""}
    print(f'Connecting to server "{host}:{port}" as user "{given.user}".', file=sys.stderr)
    try:
        password = getpass.getpass("Enter password: ")
    except EOFError:
        sys.exit("ERROR: no password")
    return psycopg2.connect(**target, password=password), host, {"password": password}


def main(arguments):
    given = options(arguments)
    # Without it a statement that runs could not be interrupted.
    psycopg2.extensions.set_wait_callback(psycopg2.extras.wait_select)
    try:
        connection, host, secret = connect(given)
    except psycopg2.OperationalError as error:
        print(f"ERROR: {str(error).strip()}\nFailed running \"sql\"", file=sys.stderr)
        return 1
    connection.autocommit = True
    interactive = sys.stdin.isatty() and not given.execute and not given.file
    shell = Shell(connection, host, secret, interactive or given.format == "table")
    if interactive:
        failed = shell.interact()
    else:
        if given.file:
            with open(given.file) as file:
                texts = [file.read()]
        else:
            texts = given.execute or [sys.stdin.read()]
        for text in texts:
            shell.run(text)
            if shell.failed:
                break
        failed = shell.failed
    if failed and not interactive:
        print('Failed running "sql"', file=sys.stderr)
    return 1 if failed else 0
