"""Hosts that tell what they were sent, and misbehave when they are asked to.

The request says how it wants to be answered, in fields that proxies pass on:
  x-do: status=503        this status
  x-do: fail=2            503 for the first two requests of a case, then 200
  x-do: close             no answer, the connection ends
  x-do: closeonce         that for the first request of a case only
  x-do: delay=0.5         the answer comes that much later
  x-do: delayonce=0.5     that for the first request of a case only
  x-do: field=name:value  the answer has this field, may be repeated with `;`
"""

import collections
import json
import socketserver
import threading
import time


class Host(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, name):
        self.name = name
        super().__init__(("127.0.0.1", 0), Connection)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self):
        return self.server_address[1]


# What was seen of each request of each case, over all hosts, in order of arrival.
seen = collections.defaultdict(list)
lock = threading.Lock()


class Connection(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        try:
            while self.one():
                pass
        except (ConnectionError, ValueError):
            pass

    def one(self):
        line = self.rfile.readline()
        if not line:
            return False
        method, path, _ = line.decode("latin-1").split(" ", 2)
        fields = []
        while (line := self.rfile.readline()) not in (b"\r\n", b"\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            fields.append((name.strip().lower(), value.strip()))
        body = self.body(dict(fields))
        case = dict(fields).get("x-case", "")
        with lock:
            nth = len(seen[case])
            seen[case].append({"host": self.server.name, "method": method, "path": path, "fields": fields, "body": body})
        return self.answer(method, nth, dict(fields).get("x-do", ""))

    def body(self, fields):
        if "content-length" in fields:
            return self.rfile.read(int(fields["content-length"])).decode("latin-1")
        if fields.get("transfer-encoding") != "chunked":
            return ""
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline() not in (b"\r\n", b""):
            pass
        return b"".join(parts).decode("latin-1")

    def answer(self, method, nth, wanted):
        status, extra = 200, ""
        for order in filter(None, wanted.split(";")):
            key, _, value = order.partition("=")
            if key == "status":
                status = int(value)
            elif key == "fail" and nth < int(value):
                status = 503
            elif key == "close" or (key == "closeonce" and nth == 0):
                return False
            elif key == "delay" or (key == "delayonce" and nth == 0):
                time.sleep(float(value))
            elif key == "field":
                name, _, value = value.partition(":")
                extra += f"{name}: {value}\r\n"
        body = b"" if status == 204 else json.dumps({"host": self.server.name}).encode()
        length = "" if status == 204 else f"content-length: {len(body)}\r\n"
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{length}{extra}\r\n"
        self.wfile.write(head.encode("latin-1") + (b"" if method == "HEAD" else body))
        return True
