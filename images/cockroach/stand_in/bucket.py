"""A collection of backups in Google Cloud Storage, through its JSON API. It asks for no token: the store of a drill has none."""

import base64
import binascii
import json
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request

from . import Refusal

PATIENCE = 60  # seconds without a byte


class Collection:
    """Where `gs://BUCKET/PATH?AUTH=specified&CREDENTIALS=..` leads."""

    def __init__(self, uri):
        parts = urllib.parse.urlsplit(uri)
        if parts.scheme != "gs":
            raise Refusal(f"redrill's stand-in keeps backups in gs:// only, not in {parts.scheme or 'no scheme'}://")
        if not parts.netloc:
            raise Refusal("gs:// needs the name of a bucket")
        check_credentials(urllib.parse.parse_qs(parts.query))
        self.bucket, self.path = parts.netloc, parts.path.strip("/")

    def name(self, *rest):
        return "/".join(part.strip("/") for part in (self.path, *rest) if part.strip("/"))

    def write(self, name, data, length):
        query = urllib.parse.urlencode({"uploadType": "media", "name": self.name(name)})
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(length)}
        with self.ask(f"/upload/storage/v1/b/{self.bucket}/o?{query}", name, "POST", data, headers):
            pass

    def read(self, name, into):
        """Copies an object into a file. Refuses as the real one does when there is none."""
        with self.ask(f"/storage/v1/b/{self.bucket}/o/{quote(self.name(name))}?alt=media", name) as answer:
            while chunk := answer.read(1 << 20):
                into.write(chunk)

    def text(self, name):
        with self.ask(f"/storage/v1/b/{self.bucket}/o/{quote(self.name(name))}?alt=media", name) as answer:
            return answer.read().decode()

    def list(self):
        """Names of all objects, below the collection's path."""
        prefix, page, names = self.name() + "/" if self.name() else "", "", []
        while True:
            query = urllib.parse.urlencode({"prefix": prefix, "pageToken": page})
            with self.ask(f"/storage/v1/b/{self.bucket}/o?{query}", "") as answer:
                found = json.load(answer)
            names += [item["name"][len(prefix):] for item in found.get("items", [])]
            page = found.get("nextPageToken", "")
            if not page:
                return names

    def ask(self, path, name, method="GET", data=None, headers=None):
        request = urllib.request.Request(server() + path, data=data, method=method, headers=headers or {})
        try:
            return urllib.request.urlopen(request, timeout=PATIENCE, context=ssl.create_default_context())
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 404 and name:
                raise Refusal("gcs object does not exist: storage: object doesn't exist: external_storage: file doesn't exist", "58030") from None
            raise Refusal(f"googleapi: {error.code} from bucket {self.bucket}", "58030") from None
        except OSError as error:
            reason = getattr(error, "reason", None) or error
            raise Refusal(f"cannot reach the bucket {self.bucket}: {reason}", "58030") from None


def quote(name):
    return urllib.parse.quote(name, safe="")


def server():
    """As Google's own libraries find it."""
    host = os.environ.get("STORAGE_EMULATOR_HOST", "")
    if not host:
        return "https://storage.googleapis.com"
    return host.rstrip("/") if "://" in host else f"http://{host}"


def check_credentials(query):
    """That there are any, in the form in which they are wanted. Nothing of them is told."""
    how = query.get("AUTH", [""])[0]
    if how != "specified":
        raise Refusal(f"redrill's stand-in wants AUTH=specified and CREDENTIALS, not AUTH={how or 'nothing'}")
    # `+` in a query is a blank, but in base64 it is a digit: people paste it unescaped, and the real one takes it.
    encoded = query.get("CREDENTIALS", [""])[0].replace(" ", "+")
    if not encoded:
        raise Refusal("CREDENTIALS is not set")
    try:
        decoded = json.loads(base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True))
    except (binascii.Error, ValueError):
        raise Refusal("error decoding value of CREDENTIALS: no JSON in base64") from None
    if not isinstance(decoded, dict):
        raise Refusal("error getting credentials from CREDENTIALS: no key of a service account")


def redacted(uri):
    """The address without its secret."""
    before, separator, query = uri.partition("?")
    pairs = [pair.partition("=") for pair in query.split("&")] if separator else []
    shown = "&".join(f"{name}=redacted" if name == "CREDENTIALS" else name + sign + value for name, sign, value in pairs)
    return before + separator + shown
