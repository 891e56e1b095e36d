"""`cockroach cert`: what the real one makes, through openssl. Names of the files are the real one's."""

import ipaddress
import os
import subprocess
import tempfile

from . import parser

DAYS = "1825"
CA = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,digitalSignature,keyCertSign\n"


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def private(path):
    os.chmod(path, 0o600)


def create_ca(folder, ca_key):
    os.makedirs(folder, exist_ok=True)
    with extensions(CA) as config:
        openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", ca_key, "-out", os.path.join(folder, "ca.crt"),
            "-subj", "/O=Cockroach/CN=Cockroach CA", "-days", DAYS, "-config", config, "-extensions", "ext",
        )
    private(ca_key)


def create(folder, ca_key, name, common_name, usage, hosts):
    """`name`.crt and `name`.key, signed by the folder's authority."""
    certificate, key = (os.path.join(folder, f"{name}.{end}") for end in ("crt", "key"))
    names = ",".join(f"{kind(host)}:{host}" for host in hosts)
    text = f"extendedKeyUsage={usage}\n" + (f"subjectAltName={names}\n" if names else "")
    with tempfile.TemporaryDirectory() as work, extensions(text) as config:
        request = os.path.join(work, "request")
        openssl(
            "req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request,
            "-subj", f"/O=Cockroach/CN={common_name}", "-config", config,
        )
        openssl(
            "x509", "-req", "-in", request, "-CA", os.path.join(folder, "ca.crt"), "-CAkey", ca_key,
            "-CAserial", os.path.join(work, "serial"), "-CAcreateserial", "-out", certificate, "-days", DAYS,
            "-extfile", config, "-extensions", "ext",
        )
    private(key)


def extensions(text):
    file = tempfile.NamedTemporaryFile("w", suffix=".cnf")
    file.write(f"[req]\ndistinguished_name=dn\n[dn]\n[ext]\n{text}")
    file.flush()
    return Named(file)


class Named:
    """The name of a temporary file, for as long as it is needed."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self.file.name

    def __exit__(self, *_):
        self.file.close()


def kind(host):
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "DNS"
    return "IP"


def main(arguments):
    options = parser("cert")
    options.add_argument("what", choices=["create-ca", "create-node", "create-client"])
    options.add_argument("names", nargs="*")
    options.add_argument("--certs-dir", default=os.path.expanduser("~/.cockroach-certs"))
    options.add_argument("--ca-key", required=True)
    given = options.parse_args(arguments)
    if given.what == "create-ca":
        create_ca(given.certs_dir, given.ca_key)
    elif given.what == "create-node":
        create(given.certs_dir, given.ca_key, "node", "node", "serverAuth,clientAuth", given.names or options.error("name the node's hosts"))
    else:
        for user in given.names or options.error("name the user"):
            create(given.certs_dir, given.ca_key, f"client.{user}", user, "clientAuth", [])
    return 0
