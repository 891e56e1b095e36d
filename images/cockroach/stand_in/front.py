"""The server that clients reach: TLS, and PostgreSQL's protocol handed through, with statements translated on the way."""

import select
import socket
import socketserver
import ssl
import struct

from . import Refusal, dialect
from .database import PASSWORD_PORT

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST, VERSION_3 = 80877103, 80877104, 80877102, 3 << 16
CHUNK = 1 << 16
LONGEST = 1 << 28  # bytes of one message


class Ended(Exception):
    """The client is gone."""


class Front(socketserver.ThreadingTCPServer):
    """`context`: the node's certificate, and the authority of its clients'; `None` where everybody is let in."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address, context, plain, database, work):
        self.context, self.plain, self.database, self.work = context, plain, database, work
        super().__init__(address, Session)


class Session(socketserver.BaseRequestHandler):
    def handle(self):
        self.client, self.backend, self.tokens = self.request, None, []
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            startup = self.negotiate()
            if startup is not None:
                self.begin(startup)
                self.relay()
        except (Ended, OSError, ssl.SSLError):
            pass
        finally:
            self.server.work.forget(self.tokens)
            for end in (self.client, self.backend):
                if end is not None:
                    end.close()

    def negotiate(self):
        """What the client says first, once the connection is as it is to be; `None` when there is nothing to serve."""
        while True:
            message = self.read_exactly(struct.unpack("!I", self.read_exactly(4))[0] - 4)
            code = struct.unpack("!I", message[:4])[0]
            if code == SSL_REQUEST and self.server.context is not None:
                self.client.sendall(b"S")
                self.client = self.server.context.wrap_socket(self.client, server_side=True)
            elif code in (SSL_REQUEST, GSS_REQUEST):
                self.client.sendall(b"N")
            elif code == CANCEL_REQUEST:
                with self.socket_of_backend(trusted=True) as backend:
                    backend.sendall(struct.pack("!I", len(message) + 4) + message)
                return None
            elif code == VERSION_3:
                return parameters(message[4:])
            else:
                return self.refuse(Refusal("redrill's stand-in speaks version 3 of the protocol", "08P01"))

    def begin(self, startup):
        """Leads the client to PostgreSQL, which lets it in or not: whom a certificate vouches for without a password."""
        user = startup.setdefault("user", "")
        startup.setdefault("database", "defaultdb")
        self.user = user
        trusted = self.server.context is None
        if not trusted:
            if not isinstance(self.client, ssl.SSLSocket) and not self.server.plain:
                return self.refuse(Refusal("node is running secure mode, SSL connection required", "28000"))
            name = common_name(self.client)
            if name is not None and name != user:
                return self.refuse(Refusal(f"requested user is {user}, but certificate is for {name}", "28000"))
            trusted = name is not None
        self.backend = self.socket_of_backend(trusted)
        body = struct.pack("!I", VERSION_3) + b"".join(f"{name}\0{value}\0".encode() for name, value in startup.items()) + b"\0"
        self.backend.sendall(struct.pack("!I", len(body) + 4) + body)

    def socket_of_backend(self, trusted):
        if not trusted:
            return socket.create_connection(("127.0.0.1", PASSWORD_PORT))
        backend = socket.socket(socket.AF_UNIX)
        backend.connect(f"{self.server.database.sockets}/.s.PGSQL.{PASSWORD_PORT}")
        return backend

    def relay(self):
        """Until either end is gone. One thread, because a TLS connection must not be read and written at once."""
        buffered = bytearray()
        while True:
            pending = isinstance(self.client, ssl.SSLSocket) and self.client.pending()
            ready = [self.client] if pending else select.select([self.client, self.backend], [], [])[0]
            if self.backend in ready:
                answered = self.backend.recv(CHUNK)
                if not answered:
                    return
                self.client.sendall(answered)
            if self.client in ready:
                asked = self.client.recv(CHUNK)
                if not asked:
                    return
                buffered += asked
                self.hand_on(buffered)

    def hand_on(self, buffered):
        """Passes complete messages to PostgreSQL, and leaves the rest."""
        at, ready = 0, bytearray()
        while len(buffered) - at >= 5:
            length = struct.unpack_from("!I", buffered, at + 1)[0]
            if not 4 <= length <= LONGEST:
                raise Ended
            if len(buffered) - at < length + 1:
                break
            ready += self.translated(bytes(buffered[at : at + length + 1]))
            at += length + 1
        del buffered[:at]
        self.backend.sendall(ready)

    def translated(self, message):
        kind, body = message[:1], message[5:]
        try:
            if kind == b"Q":
                text = dialect.translate(body[:-1].decode(), self.keep)
                return framed(b"Q", text.encode() + b"\0")
            if kind == b"P":
                name, text, rest = body.split(b"\0", 2)
                text = dialect.translate(text.decode(), self.keep)
                return framed(b"P", name + b"\0" + text.encode() + b"\0" + rest)
        except (Refusal, UnicodeDecodeError, ValueError) as error:
            # PostgreSQL says it, so that its place among the other answers is right.
            state = error.state if isinstance(error, Refusal) else "22021"
            text = f"SELECT crdb_internal.redrill_answer('{self.keep_refusal(str(error), state)}')".encode()
            return framed(b"Q", text + b"\0") if kind == b"Q" else framed(b"P", body.split(b"\0", 1)[0] + b"\0" + text + b"\0\0\0")
        return message

    def keep(self, name, match):
        self.tokens.append(self.server.work.keep(self.user, name, match))
        return self.tokens[-1]

    def keep_refusal(self, text, state):
        return self.keep("refuse", Refusal(text, state))

    def refuse(self, refusal):
        fields = {"S": "FATAL", "V": "FATAL", "C": refusal.state, "M": str(refusal)}
        body = b"".join(name.encode() + value.encode() + b"\0" for name, value in fields.items()) + b"\0"
        self.client.sendall(framed(b"E", body))
        raise Ended

    def read_exactly(self, length):
        if not 0 <= length <= CHUNK:
            raise Ended
        found = b""
        while len(found) < length:
            more = self.client.recv(length - len(found))
            if not more:
                raise Ended
            found += more
        return found


def framed(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body


def parameters(body):
    words = [word.decode() for word in body.split(b"\0")]
    return {name: value for name, value in zip(words[::2], words[1::2]) if name}


def common_name(connection):
    """Of the certificate that the client has shown, which the authority has signed; `None` where it showed none."""
    certificate = connection.getpeercert() if isinstance(connection, ssl.SSLSocket) else None
    for names in (certificate or {}).get("subject", ()):
        for name, value in names:
            if name == "commonName":
                return value
    return None
