#!/usr/bin/env python3
"""Metrics and traces as those see them whom they are for: promtool and Prometheus, and an OTLP receiver (oteltap).

A request goes HTTP -> gRPC -> HTTP -> Dubbo through two instances of Ringway, a gRPC service and a Dubbo provider.
usage: run.py RINGWAY (with grpcio and oteltap importable, promtool and prometheus in the path)
"""

import base64
import json
import pathlib
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from concurrent import futures

import grpc

ROOT = pathlib.Path(__file__).resolve().parents[2]
RINGWAY = str(pathlib.Path(sys.argv[1]).resolve())
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
LIMIT = 40
dubbo_saw = []


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


PORTS = {name: free_port() for name in ("library", "api", "admin", "calls", "orders", "back_admin", "otlp", "prometheus")}


def fetch(port, path, headers=None):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers or {})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode(), answer.headers.get("content-type", "")


def eventually(what, attempt):
    until = time.monotonic() + LIMIT
    while True:
        try:
            if found := attempt():
                return found
        except OSError:
            pass
        if time.monotonic() > until:
            raise SystemExit(f"metrics-interop: {what}: not within {LIMIT} s")
        time.sleep(0.1)


def grpc_service():
    """Answers any call with an empty message, after a call of its own that carries the trace on."""

    def serve(_, context):
        metadata = dict(context.invocation_metadata())
        fetch(PORTS["api"], "/orders/7", {"traceparent": metadata["traceparent"]})
        return b""

    class Any(grpc.GenericRpcHandler):
        def service(self, _):
            return grpc.unary_unary_rpc_method_handler(serve)

    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[Any()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def dubbo_provider():
    """Answers any call of Dubbo2 with the text `ok` in hessian2, and keeps the trace that it came with."""

    def exactly(conn, count):
        data = b""
        while len(data) < count:
            if not (more := conn.recv(count - len(data))):
                raise EOFError
            data += more
        return data

    def serve(conn):
        try:
            while True:
                _, flags, _, ident, length = struct.unpack(">HBBQI", exactly(conn, 16))
                body = exactly(conn, length)
                event = flags & 0x20
                if not event and (found := re.search(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-01", body)):
                    dubbo_saw.append(tuple(part.decode() for part in found.groups()))
                result = b"N" if event else b"\x91\x02ok"
                conn.sendall(struct.pack(">HBBQI", 0xDABB, 0x02 | event, 20, ident, len(result)) + result)
        except (EOFError, OSError):
            conn.close()

    def accept(listener):
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=accept, args=(listener,), daemon=True).start()
    return listener.getsockname()[1]


def routes(cluster, match="{ prefix: / }"):
    return f"{{ virtual_hosts: [{{ domains: ['*'], routes: [{{ match: {match}, route: {{ cluster: {cluster} }} }}] }}] }}"


def configuration(name, reporter, admin):
    return f"""
admin: {{ address: "127.0.0.1:{admin}" }}
tracing: {{ service_name: {name}, sampling: {{ random: 0% }}, exporters: [collector] }}
exporters:
  - name: collector
    service_name: {name}
    batch: {{ interval: 100ms }}
    otlp: {{ endpoint: "http://127.0.0.1:{PORTS["otlp"]}", protocol: http, metrics_interval: 1s }}
metrics: {{ istio: {{ reporter: {reporter}, workload: {{ name: {name}-v1, namespace: shop }} }} }}
"""


def configurations(grpc_port, dubbo_port):
    front = configuration("front", "source", PORTS["admin"]) + f"""
listeners:
  - name: library
    address: "127.0.0.1:{PORTS["library"]}"
    filters: [{{ grpc_json: {{ descriptor_set: "{ROOT}/examples/shelf.pb", services: [example.library.Library] }} }}]
    routes: {routes("calls")}
  - name: api
    address: "127.0.0.1:{PORTS["api"]}"
    filters:
      - http_to_dubbo:
          mappings:
            - path: /orders/{{id}}
              http_method: GET
              service: com.example.Orders
              method: find
              parameters: [{{ type: long, from: "path:id" }}]
    routes: {routes("orders", "{ service: com.example.Orders }")}
clusters:
  - {{ name: calls, protocol: http2, endpoints: ["127.0.0.1:{PORTS["calls"]}"] }}
  - {{ name: orders, protocol: dubbo, endpoints: ["127.0.0.1:{PORTS["orders"]}"] }}
"""
    back = configuration("back", "destination", PORTS["back_admin"]) + f"""
listeners:
  - {{ name: calls, address: "127.0.0.1:{PORTS["calls"]}", protocol: auto, routes: {routes("library")} }}
  - {{ name: orders, address: "127.0.0.1:{PORTS["orders"]}", protocol: dubbo, routes: {routes("provider", "{ service: '*' }")} }}
clusters:
  - {{ name: library, protocol: http2, endpoints: ["127.0.0.1:{grpc_port}"] }}
  - {{ name: provider, protocol: dubbo, endpoints: ["127.0.0.1:{dubbo_port}"] }}
"""
    return {"front": front, "back": back}


def check_exposition():
    """promtool reads what is scraped; what it says of Envoy's names, which are not ours to change, is no error."""
    text, kind = fetch(PORTS["admin"], "/stats/prometheus")
    assert kind.startswith("text/plain; version=0.0.4"), kind
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=30)
    said = checked.stderr.splitlines() + checked.stdout.splitlines()
    if checked.returncode not in (0, 3):  # 3: it has remarks
        raise SystemExit("metrics-interop: promtool cannot read the scrape:\n" + "\n".join(said[:20]))
    # The name has milliseconds since Istio has.
    ours = [line for line in said if line.startswith("istio_") and "milliseconds" not in line]
    assert not ours, ours
    print(f"ok  promtool reads {len(text.splitlines())} lines; {len(said)} remarks on Envoy's names")
    open_text, kind = fetch(PORTS["admin"], "/stats/prometheus", {"accept": "application/openmetrics-text"})
    assert kind.startswith("application/openmetrics-text; version=1.0.0"), kind
    assert open_text.endswith("\n# EOF\n") and TRACE in open_text


def check_prometheus(directory, processes):
    """A Prometheus scrapes both instances, in OpenMetrics, and answers."""
    for kind, file in (("rules", "ringway-rules.yaml"), ("config", "prometheus.yaml")):
        subprocess.run(["promtool", "check", kind, file], cwd=ROOT / "deploy/prometheus", check=True, timeout=30)
    json.loads((ROOT / "deploy/grafana/ringway.json").read_text())
    config = (ROOT / "deploy/prometheus/prometheus.yaml").read_text().replace("15s", "1s")
    config = config.replace('"127.0.0.1:9901"', f'"127.0.0.1:{PORTS["admin"]}", "127.0.0.1:{PORTS["back_admin"]}"')
    config = config.replace("ringway-rules.yaml", str(ROOT / "deploy/prometheus/ringway-rules.yaml"))
    (directory / "prometheus.yaml").write_text(config)
    processes.append(subprocess.Popen(
        ["prometheus", "--config.file=prometheus.yaml", "--storage.tsdb.path=data", "--enable-feature=exemplar-storage",
         f"--web.listen-address=127.0.0.1:{PORTS['prometheus']}"],
        cwd=directory, stdout=subprocess.DEVNULL, stderr=(directory / "prometheus.log").open("w")))

    def ask(query, page="query"):
        more = f"&start={time.time() - 600}&end={time.time() + 5}" if page == "query_exemplars" else ""
        path = f"/api/v1/{page}?query={urllib.parse.quote(query)}{more}"
        data = json.loads(fetch(PORTS["prometheus"], path)[0])["data"]
        return data if page == "query_exemplars" else data["result"]

    eventually("Prometheus has scraped both", lambda: len(ask('up{job="ringway"} == 1')) == 2)
    reported = lambda: {row["metric"]["reporter"] for row in ask("sum by (reporter) (istio_requests_total)")}
    eventually("Prometheus knows both sides", lambda: reported() == {"source", "destination"})
    quantile = "histogram_quantile(0.99, sum by (le) (istio_request_duration_milliseconds_bucket))"
    eventually("Prometheus computes a quantile", lambda: float(ask(quantile)[0]["value"][1]) > 0)
    eventually("Prometheus has an exemplar", lambda: any(
        exemplar["labels"].get("trace_id") == TRACE
        for series in ask("istio_request_duration_milliseconds_bucket", "query_exemplars") for exemplar in series["exemplars"]))
    protocols = {row["metric"]["request_protocol"] for row in ask("sum by (request_protocol) (istio_requests_total)")}
    assert protocols >= {"http", "grpc", "dubbo"}, protocols
    print(f"ok  Prometheus has requests of {', '.join(sorted(protocols))}, and a trace as an example")


def check_spans(output):
    """From what the provider was told back to the caller, span by span."""

    def found():
        spans = []
        for line in output.read_text().splitlines():
            if line.startswith("{"):
                spans += spans_in(json.loads(line))
        return spans if len({span["spanId"] for span in spans if same(span["traceId"], TRACE)}) >= 8 else None

    spans = {hexed(span["spanId"]): span for span in eventually("eight spans of the trace are received", found)
             if same(span["traceId"], TRACE)}
    trace, at = dubbo_saw[0]
    assert trace == TRACE, trace
    kinds = []
    while at != CALLER:
        span = spans[at]
        # By name or by number, as the receiver likes it.
        kinds.append({"SPAN_KIND_SERVER": 2, "SPAN_KIND_CLIENT": 3}.get(span["kind"], span["kind"]))
        at = hexed(span["parentSpanId"])
    assert kinds == [3, 2] * 4, kinds
    eventually("Istio's metrics leave by OTLP", lambda: "istio_requests_total" in output.read_text())
    print(f"ok  {len(spans)} spans from the caller over HTTP, gRPC and Dubbo to the provider, each the parent of the next")


def spans_in(message):
    """The spans of a message, however deep they lie."""
    if isinstance(message, list):
        return [span for part in message for span in spans_in(part)]
    if not isinstance(message, dict):
        return []
    if "spanId" in message and "kind" in message:
        return [message]
    return [span for part in message.values() for span in spans_in(part)]


def hexed(ident):
    """JSON of protobuf has bytes in base64; OTLP's JSON has ids in hexadecimal."""
    if re.fullmatch(r"[0-9a-f]{16}|[0-9a-f]{32}", ident):
        return ident
    return base64.b64decode(ident).hex()


def same(ident, other):
    return hexed(ident) == other


def main():
    begun = time.monotonic()
    directory = pathlib.Path(tempfile.mkdtemp())
    processes = []
    try:
        output = directory / "spans.txt"
        processes.append(subprocess.Popen([sys.executable, "-u", "-m", "oteltap", "--port", str(PORTS["otlp"])],
                                          stdout=output.open("w"), stderr=subprocess.STDOUT))
        _server, grpc_port = grpc_service()
        for name, text in configurations(grpc_port, dubbo_provider()).items():
            (directory / f"{name}.yaml").write_text(text)
            processes.append(subprocess.Popen([RINGWAY, "run", "-c", f"{name}.yaml"], cwd=directory,
                                              stderr=(directory / f"{name}.log").open("w")))
        for admin in ("admin", "back_admin"):
            eventually("Ringway starts", lambda: fetch(PORTS[admin], "/ready")[0].startswith("LIVE"))
        fetch(PORTS["library"], "/v1/books/7", {"traceparent": f"00-{TRACE}-{CALLER}-01"})
        check_spans(output)
        check_exposition()
        check_prometheus(directory, processes)
        print(f"metrics-interop: all well in {time.monotonic() - begun:.0f} s")
    except BaseException:
        for log in sorted(directory.glob("*.log")):
            print(f"--- {log.name}\n" + "\n".join(log.read_text().splitlines()[-15:]), file=sys.stderr)
        raise
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=20)
        subprocess.run(["rm", "-rf", str(directory)], check=False)


main()
