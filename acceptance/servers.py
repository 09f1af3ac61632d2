"""Real servers for the stores of keepfs, each on a port of the loopback with its own files in the scratch folder."""

import os
import shutil
import socket
import subprocess
import time

from harness import TOOLS

SECRET = "not-a-secret-outside-this-test"
KEY_ID = "KEEPFSTEST"
BUCKET = "vaults"
START_SECONDS_MAX = 15


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One server process. `url` is a store on it, `environment` what opens it, `folder` where it keeps things."""

    name = ""

    def __init__(self, report, folder=None):
        self.report = report
        self.base = report.path(f"{self.name}-server")
        self.folder = folder or os.path.join(self.base, "data")
        for path in (self.base, self.folder):
            os.makedirs(path, exist_ok=True)
        self.port = free_port()
        self.process = None
        self.environment = {}
        self.prepare()
        report.on_exit(self.stop)
        self.start()

    def prepare(self):
        """Configuration, keys, folders."""

    def command(self):
        raise NotImplementedError

    def start(self):
        log = open(os.path.join(self.base, "server.log"), "ab")
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        with open(os.path.join(self.base, "server.log"), errors="replace") as text:
            self.report.need(False, f"the {self.name} server starts", text.read()[-2000:])

    def stop(self):
        """Ends the server and what it started for its clients."""
        if self.process is None:
            return
        self.end_children()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process = None

    def end_children(self):
        pass

    def url(self, place, port=None):
        """The URL of a store at that place; the port of a proxy may stand before the server's own."""
        raise NotImplementedError


class S3(Server):
    name = "s3"

    def prepare(self):
        os.makedirs(os.path.join(self.folder, BUCKET), exist_ok=True)
        self.environment = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_EC2_METADATA_DISABLED": "true"}

    def command(self):
        keys = ["--access-key", KEY_ID, "--secret-key", SECRET]
        return [os.path.join(TOOLS, "s3s-fs"), "--host", "127.0.0.1", "--port", str(self.port), *keys, self.folder]

    def url(self, place, port=None):
        return f"s3://{BUCKET}/{place}?endpoint=http://127.0.0.1:{port or self.port}&region=us-east-1"


class WebDav(Server):
    name = "webdav"

    def prepare(self):
        self.environment = {"WEBDAV_USERNAME": "me", "WEBDAV_PASSWORD": SECRET}
        salted = subprocess.run(["openssl", "passwd", "-apr1", SECRET], capture_output=True, text=True, check=True)
        with open(os.path.join(self.base, "users"), "w") as out:
            out.write(f"me:{salted.stdout.strip()}\n")
        os.chmod(os.path.join(self.base, "users"), 0o644)
        self.write_configuration()

    def write_configuration(self, methods="PUT DELETE MKCOL COPY MOVE", extra=""):
        modules = "/usr/lib/nginx/modules/ngx_http_dav_ext_module.so"
        user = "user root;" if os.geteuid() == 0 else ""
        body = f"""
load_module {modules};
{user}
daemon off;
worker_processes 2;
pid {self.base}/pid;
error_log {self.base}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log {self.base}/access.log;
    client_body_temp_path {self.base}/body;
    proxy_temp_path {self.base}/proxy; fastcgi_temp_path {self.base}/fastcgi;
    uwsgi_temp_path {self.base}/uwsgi; scgi_temp_path {self.base}/scgi;
    client_max_body_size 256m;
    keepalive_requests 100000;
    server {{
        listen 127.0.0.1:{self.port};
        root {self.folder};
        location / {{
            dav_methods {methods};
            dav_ext_methods PROPFIND OPTIONS;
            dav_access user:rw;
            auth_basic keepfs;
            auth_basic_user_file {self.base}/users;
            {extra}
        }}
    }}
}}
"""
        self.configuration = os.path.join(self.base, "nginx.conf")
        with open(self.configuration, "w") as out:
            out.write(body)

    def command(self):
        return ["/usr/sbin/nginx", "-p", self.base, "-e", os.path.join(self.base, "error.log"), "-c", self.configuration]

    def url(self, place, port=None):
        return f"webdav+http://127.0.0.1:{port or self.port}/{place}"


class Sftp(Server):
    name = "sftp"

    def prepare(self):
        key = os.path.join(self.base, "client")
        for path in (key, os.path.join(self.base, "host")):
            if not os.path.exists(path):
                subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        shutil.copy(f"{key}.pub", os.path.join(self.base, "authorized"))
        os.chmod(os.path.join(self.base, "authorized"), 0o600)
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        with open(os.path.join(self.base, "sshd.conf"), "w") as out:
            out.write(
                f"""Port {self.port}
ListenAddress 127.0.0.1
HostKey {self.base}/host
PidFile {self.base}/pid
AuthorizedKeysFile {self.base}/authorized
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
Subsystem sftp internal-sftp
"""
            )
        self.write_client_configuration("client.conf", self.port, key)

    def write_client_configuration(self, name, port, key):
        with open(os.path.join(self.base, "host.pub")) as public:
            words = public.read().split()[:2]
        known = os.path.join(self.base, f"known-{port}")
        with open(known, "w") as out:
            out.write(f"[127.0.0.1]:{port} {' '.join(words)}\n")
        path = os.path.join(self.base, name)
        with open(path, "w") as out:
            out.write(f"IdentityFile {key}\nIdentitiesOnly yes\nUserKnownHostsFile {known}\nGlobalKnownHostsFile none\nStrictHostKeyChecking yes\n")
        os.chmod(path, 0o600)
        return path

    def command(self):
        return ["/usr/sbin/sshd", "-D", "-e", "-f", os.path.join(self.base, "sshd.conf")]

    def end_children(self):
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True, check=False)
        for child in children.stdout.split():
            below = subprocess.run(["ps", "-o", "pid=", "--ppid", child], capture_output=True, text=True, check=False)
            for process in [*below.stdout.split(), child]:
                subprocess.run(["kill", process], check=False, stderr=subprocess.DEVNULL)

    def url(self, place, port=None):
        port = port or self.port
        config = self.write_client_configuration(f"client-{port}.conf", port, os.path.join(self.base, "client"))
        return f"sftp://127.0.0.1:{port}{self.folder}/{place}?config={config}"


SERVERS = [S3, WebDav, Sftp]
