"""`cockroach start-single-node`: PostgreSQL below the store, the server that clients reach, and the node's health."""

import json
import os
import signal
import socket
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from . import SQL_PORT, VERSION, address, parser
from .database import Database
from .front import Front
from .schedules import Schedules
from .work import Answers, Work


def say(text):
    print(text, file=sys.stderr, flush=True)


def options(arguments):
    known = parser("start-single-node")
    known.add_argument("--certs-dir")
    known.add_argument("--store", "-s", default="cockroach-data")
    known.add_argument("--listen-addr", default="")
    known.add_argument("--sql-addr", default="")
    known.add_argument("--http-addr", default="")
    known.add_argument("--http-port", default="8080")
    known.add_argument("--insecure", action="store_true")
    known.add_argument("--accept-sql-without-tls", action="store_true")
    # Taken without effect: one node, and what it logs goes to stderr.
    for name in ("--advertise-addr", "--advertise-host", "--advertise-port", "--cache", "--max-sql-memory", "--locality", "--attrs", "--log"):
        known.add_argument(name)
    known.add_argument("--logtostderr", nargs="?", const="INFO")
    return known.parse_args(arguments)


def tls(certs_dir):
    """The node's side of TLS. Everybody may come without a certificate; one that is shown must be the authority's."""
    path = lambda name: os.path.join(certs_dir, name)  # noqa: E731
    for name in ("ca.crt", "node.crt", "node.key"):
        if not os.path.exists(path(name)):
            sys.exit(f"ERROR: problem with {'CA' if name == 'ca.crt' else 'node'} certificate: not found: {path(name)}")
    complaint = too_open(path("node.key"))
    if complaint:
        sys.exit(f"ERROR: {complaint}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path("node.crt"), path("node.key"))
    context.load_verify_locations(path("ca.crt"))
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def too_open(path):
    """What is wrong with a key's mode, as the real one sees it: nobody but its owner may read it, root's group may."""
    if os.environ.get("COCKROACH_SKIP_KEY_PERMISSION_CHECK") == "true":
        return None
    status = os.stat(path)
    allowed = 0o740 if status.st_uid == 0 else 0o700
    mode = status.st_mode & 0o777
    return f"key file {path} has permissions {mode:o}, exceeds {allowed:o}" if mode & ~allowed else None


class Health(BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.path.split("?")[0] in ("/health", "/_admin/v1/health")
        body = json.dumps({"nodeId": 1, "what": VERSION} if known else {"error": "no such page"}).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def store_of(text):
    """The folder of `PATH` or `path=PATH,size=..`."""
    pairs = dict(pair.partition("=")[::2] for pair in text.split(",")) if "=" in text else {"path": text}
    return os.path.abspath(pairs.get("path") or sys.exit(f"ERROR: no path in --store={text}"))


def main(arguments):
    given = options(arguments)
    if not given.insecure and not given.certs_dir:
        sys.exit("ERROR: name --certs-dir, or --insecure")
    context = None if given.insecure else tls(given.certs_dir)
    database = Database(store_of(given.store))
    health = ThreadingHTTPServer(address(given.http_addr, "", given.http_port), Health)
    if context is not None:
        # Shaken hands with in the request's own thread: whoever is slow holds nobody else up.
        health.socket = context.wrap_socket(health.socket, server_side=True, do_handshake_on_connect=False)
    database.become_its_owner()
    database.start()
    schedules = Schedules(database)
    work = Work(database, schedules)
    if os.path.exists(database.control):
        os.remove(database.control)
    front = Front(address(given.sql_addr or given.listen_addr, "", SQL_PORT), context, given.accept_sql_without_tls, database, work)
    for server in (Answers(database.control, work), front, health):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    schedules.start()
    say(f"{VERSION}\nnode starting; SQL on {front.server_address[1]}, store {database.data}")
    return until_told(database)


def until_told(database):
    """Stops PostgreSQL in order when the process is told to; ends with it when that ends by itself."""
    told, tell = socket.socketpair()
    tell.setblocking(False)
    # The signal may come to any thread, and its handler in Python waits for the main one, which may be asleep in a lock then and stay
    # there. A byte is written at once.
    signal.set_wakeup_fd(tell.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    threading.Thread(target=lambda: (database.process.wait(), tell.send(b"\0")), daemon=True).start()
    told.recv(1)
    alone = database.process.poll() is not None
    if not alone:
        # Fast: sessions are cut off, what was committed is kept.
        database.process.send_signal(signal.SIGINT)
        database.process.wait()
    say("PostgreSQL has ended by itself" if alone else "stopped")
    return 1 if alone else 0
