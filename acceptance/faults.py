"""A proxy on the loopback that spoils a share of what goes through it, with a seed that replays its choices.

HTTP is spoiled request by request: broken off before or after it reached the server, half sent, half answered,
answered with 5xx, or late. Anything else (SSH) is spoiled connection by connection: broken off after some bytes.
"""

import random
import socket
import threading
import time

PIECE = 1 << 16
HEAD_LEN_MAX = 1 << 16
KINDS = ["before", "half", "lost", "cut", "error", "busy", "late"]


class Proxy:
    """Stands before a server's port. `rate` is the share of requests that are spoiled; 0 lets everything through."""

    def __init__(self, report, port, http=True, seed=1, kinds=KINDS):
        self.target = port
        self.http = http
        self.kinds = kinds
        self.rate = 0.0
        self.random = random.Random(seed)
        self.spoiled = {}
        self.requests = 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.open = True
        threading.Thread(target=self.serve, daemon=True).start()
        report.on_exit(self.close)

    def close(self):
        self.open = False
        self.listener.close()

    def serve(self):
        while self.open:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.attend, args=(client,), daemon=True).start()

    def choose(self):
        with self.lock:
            self.requests += 1
            if self.random.random() >= self.rate:
                return None
            kind = self.random.choice(self.kinds) if self.http else "cut"
            self.spoiled[kind] = self.spoiled.get(kind, 0) + 1
            return kind

    def attend(self, client):
        try:
            server = socket.create_connection(("127.0.0.1", self.target), 10)
        except OSError:
            client.close()
            return
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.settimeout(120)
        try:
            if self.http:
                while self.exchange(client, server):
                    pass
            else:
                self.pump_both(client, server)
        except (OSError, ValueError):
            pass
        finally:
            for end in (client, server):
                abort(end)

    def exchange(self, client, server):
        """One request and its answer; false when the connection shall end."""
        head, rest = read_head(client)
        if not head:
            return False
        kind = self.choose()
        body_len = content_length(head) or 0
        is_head = head.startswith(b"HEAD ")
        if kind == "before":
            return False
        if kind == "late":
            time.sleep(self.random.uniform(0.05, 0.4))
        if kind in ("error", "busy"):
            drain(client, body_len - len(rest))
            status = b"500 Internal Server Error" if kind == "error" else b"503 Service Unavailable\r\nRetry-After: 0"
            client.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
            return True
        server.sendall(head)
        wanted = body_len // 2 if kind == "half" else body_len
        forward(client, server, wanted, rest)
        if kind == "half":
            return False
        answer, more = read_head(server)
        if kind == "lost" or not answer:
            return False
        status = int(answer.split(b" ", 2)[1])
        if is_head or status in (204, 304) or 100 <= status < 200:
            client.sendall(answer)
            return kind != "cut"
        length = content_length(answer)
        if length is None and b"chunked" in answer.lower():
            body = read_chunked(server, more)
        else:
            body = more + read_exactly(server, (length or 0) - len(more))
        if kind == "cut" and body:
            client.sendall(answer + body[: len(body) // 2])
            return False
        client.sendall(answer + body)
        return True

    def pump_both(self, client, server):
        """Bytes both ways; a spoiled connection ends somewhere."""
        left = [self.random.randrange(20_000, 2_000_000) if self.choose() else 1 << 62]

        def pump(source, sink):
            try:
                while True:
                    piece = source.recv(PIECE)
                    left[0] -= len(piece)
                    if not piece or left[0] < 0:
                        break
                    sink.sendall(piece)
            except OSError:
                pass
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

        other = threading.Thread(target=pump, args=(server, client), daemon=True)
        other.start()
        pump(client, server)
        other.join()


def abort(end):
    """Ends a connection by a reset, as a line that breaks does."""
    try:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        end.close()
    except OSError:
        pass


def read_head(source):
    data = b""
    while b"\r\n\r\n" not in data:
        piece = source.recv(PIECE)
        if not piece or len(data) > HEAD_LEN_MAX:
            return b"", b""
        data += piece
    head, rest = data.split(b"\r\n\r\n", 1)
    return head + b"\r\n\r\n", rest


def content_length(head):
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return None


def forward(source, sink, length, first):
    sink.sendall(first[:length])
    left = length - len(first)
    while left > 0:
        piece = source.recv(min(PIECE, left))
        if not piece:
            raise OSError("the body ended early")
        sink.sendall(piece)
        left -= len(piece)


def drain(source, length):
    while length > 0:
        piece = source.recv(min(PIECE, length))
        if not piece:
            return
        length -= len(piece)


def read_exactly(source, length):
    parts = []
    while length > 0:
        piece = source.recv(min(PIECE, length))
        if not piece:
            raise OSError("the answer ended early")
        parts.append(piece)
        length -= len(piece)
    return b"".join(parts)


def read_chunked(source, data):
    """A chunked body as it stands, up to and with its last chunk."""
    at = 0
    while True:
        while b"\r\n" not in data[at:]:
            data += read_some(source)
        line, _ = data[at:].split(b"\r\n", 1)
        size = int(line.split(b";")[0], 16)
        end = at + len(line) + 2 + size + 2
        while len(data) < end:
            data += read_some(source)
        if size == 0:
            return data[:end]
        at = end


def read_some(source):
    piece = source.recv(PIECE)
    if not piece:
        raise OSError("the answer ended early")
    return piece
