"""What stands in for CockroachDB where no real `cockroach` is: PostgreSQL, and its missing statements acted out."""

import argparse

VERSION = "redrill's stand-in for CockroachDB: not CockroachDB, PostgreSQL 15 answers"
BUILD_TAG = "redrill-stand-in"
SQL_PORT = 26257


class Refusal(Exception):
    """What a client is told, with its SQLSTATE. No secret may be in it."""

    def __init__(self, message, state="XXUUU"):
        super().__init__(message)
        self.state = state


def parser(command):
    """Arguments as cockroach takes them: `--name=value` or `--name value`, names in full."""
    return argparse.ArgumentParser(prog=f"cockroach {command}", allow_abbrev=False, add_help=False)


def address(text, host, port):
    """`HOST:PORT`, `HOST` or `:PORT`, with what is missing filled in."""
    before, _, after = (text or "").rpartition(":") if ":" in (text or "") else (text or "", "", "")
    return before or host, int(after or port)
