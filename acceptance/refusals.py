#!/usr/bin/env python3
"""What a server refuses or garbles is told in one clear sentence, soon, over real sockets: nginx answers for the servers."""

import os
import subprocess
import time

from faults import Proxy
from harness import PASSWORD, run_script
from servers import KEY_ID, SECRET, WebDav, free_port

SECONDS_MAX = 8
UNANSWERED_SECONDS_MAX = 2.5
MEMORY_MAX = 200 << 20
# The service's own words, from the lists of errors of S3 (API reference, "Error responses").
S3_REFUSALS = {
    "RequestTimeTooSkewed": (403, "clock"),
    "ExpiredToken": (400, "token has expired"),
    "InvalidAccessKeyId": (403, "credentials are wrong"),
    "QuotaExceeded": (403, "full"),
    "NoSuchBucket": (404, "no such bucket"),
}
WEBDAV_REFUSALS = {507: "full", 401: "refuses access", 405: "read-only", 503: "cannot be reached"}


class Canned(WebDav):
    """An nginx that answers everything in one way, on a port with TLS and on one without for each way."""

    name = "canned"

    def write_configuration(self, methods="", extra=""):
        certificate, key = os.path.join(self.base, "own.pem"), os.path.join(self.base, "own.key")
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", certificate]
        subprocess.run(command, check=True, capture_output=True)
        self.certificate, self.tls_port = certificate, free_port()
        self.ports, blocks = {}, []
        for code, (status, _) in S3_REFUSALS.items():
            body = f"<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>told by the server</Message></Error>"
            blocks.append(self.block(code, f"default_type application/xml; return {status} '{body}';"))
        for status in WEBDAV_REFUSALS:
            blocks.append(self.block(status, f"return {status};"))
        super().write_configuration()
        with open(self.configuration) as text:
            plain = text.read().rstrip()
        tls = f"server {{ listen 127.0.0.1:{self.tls_port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key}; location / {{ return 404; }} }}"
        with open(self.configuration, "w") as out:
            out.write(plain[: plain.rindex("}")] + tls + "\n".join(blocks) + "\n}\n")

    def block(self, name, answer):
        self.ports[name] = free_port()
        return f"server {{ listen 127.0.0.1:{self.ports[name]}; location / {{ {answer} }} }}"


def told(report, claim, url, words, seconds_max=SECONDS_MAX, never="panicked", **variables):
    """Join fails soon, with one sentence that has the words."""
    environment = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_EC2_METADATA_DISABLED": "true"}
    environment.update(WEBDAV_USERNAME="me", WEBDAV_PASSWORD=SECRET, KEEPFS_PASSWORD=PASSWORD, **variables)
    vault = report.vault(f"refused-{time.monotonic_ns()}", url=url)
    started = time.monotonic()
    result = vault.keepfs("join", url, environment=environment)
    seconds = time.monotonic() - started
    said = result.stderr.strip()
    is_sentence = said and len(said.splitlines()) <= 3 and len(said) < 700 and never not in said and SECRET not in said
    fits = result.returncode not in (0, 12) and is_sentence and all(word in said for word in words) and seconds < seconds_max
    report.check(fits, f"{claim} is told: {said.splitlines()[0] if said else ''}", f"exit code {result.returncode} after {seconds:.1f} s: {said}")


def s3(port, scheme="http", host="127.0.0.1"):
    return f"s3://vaults/here?endpoint={scheme}://{host}:{port}&region=us-east-1"


def tls(report, server):
    for name, url in (("S3", s3(server.tls_port, "https", "localhost")), ("WebDAV", f"webdav://localhost:{server.tls_port}/here")):
        told(report, f"{name}: a certificate that nobody vouches for", url, ["TLS", "SSL_CERT_FILE"])
        told(report, f"{name}: with its authority named, the same server", url, [], never="TLS", SSL_CERT_FILE=server.certificate)
        elsewhere = url.replace("localhost", "127.0.0.1")
        told(report, f"{name}: a certificate for another name", elsewhere, ["TLS"], SSL_CERT_FILE=server.certificate)
    told(report, "WebDAV: TLS to a port that speaks none", f"webdav://localhost:{server.port}/here", ["TLS"])


def garbled(report):
    """A whole server with a vault, whose answers break off or whose header became a giant."""
    server = WebDav(report)
    vault = report.vault("garbled", url=server.url("garbled"), variables=server.environment)
    vault.init()
    proxy = Proxy(report, server.port, kinds=["cut"])
    proxy.rate = 1.0
    told(report, "an answer that always breaks off", server.url("garbled", proxy.port), ["cannot be reached"], 30)
    for name in ("vault", "vault.bak"):
        path = os.path.join(server.folder, "garbled", name)
        if os.path.exists(path):
            os.truncate(path, 8 << 30)
    before = os.times()
    command = ["/usr/bin/env", "bash", "-c", f"ulimit -v {(MEMORY_MAX >> 10) * 8}; exec \"$0\" \"$@\"", vault.binary, "join", vault.url]
    second = report.vault("giant", url=vault.url, variables=server.environment)
    result = subprocess.run(command, env=second.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    took = os.times().elapsed - before.elapsed
    fits = result.returncode not in (0, 12) and "header" in result.stderr and "panicked" not in result.stderr and took < SECONDS_MAX
    report.check(fits, f"a header of 8 GiB is told and not read: {result.stderr.strip()[:200]}", f"{result.returncode} after {took:.1f} s: {result.stderr}")
    server.stop()


def body(report):
    server = Canned(report)
    tls(report, server)
    for code, (_, word) in S3_REFUSALS.items():
        told(report, f"S3: {code}", s3(server.ports[code]), [word])
    for status, word in WEBDAV_REFUSALS.items():
        told(report, f"WebDAV: status {status}", f"webdav+http://127.0.0.1:{server.ports[status]}/here", [word])
    server.stop()
    nobody = free_port()
    for name, url in (("S3", s3(nobody)), ("WebDAV", f"webdav+http://127.0.0.1:{nobody}/here"), ("SFTP", f"sftp://127.0.0.1:{nobody}/here")):
        told(report, f"{name}: a port where nobody listens", url, ["cannot be reached"], UNANSWERED_SECONDS_MAX)
    garbled(report)


if __name__ == "__main__":
    run_script("refusals", body)
