#!/usr/bin/env python3
"""The same requests through Envoy and through Ringway, with equivalent configurations.

    run.py RINGWAY ENVOY [CASE...]

Compared are the status, the response's fields, what the upstreams were sent and how often, and the response flags. What
is allowed to differ says why, in the case itself. Exits with 1 when anything else differs.
"""

import http.client
import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

import cases
import upstream

# Fields that differ by design, or from one request to the next.
IGNORED = {
    "connection", "content-length", "date", "server", "x-request-id", "x-forwarded-for", "x-forwarded-proto", "via", "x-case",
    "x-envoy-upstream-service-time", "x-envoy-external-address", "x-envoy-expected-rq-timeout-ms", "x-do", "accept-encoding", "transfer-encoding", "user-agent", "keep-alive",
}


def free_ports(count):
    """Ports that nobody listens on, no two alike."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def fields(pairs, case):
    kept = [(name.lower(), value) for name, value in pairs if name.lower() not in IGNORED | case.ignore]
    return sorted(kept)


def send(port, request, label):
    """One request on a connection of its own; what came back, or how it failed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=8)
    try:
        # In one piece, so that what a proxy has received when it decides is no matter of chance.
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        connection.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("host", request.host)
        connection.putheader("x-case", label)
        for name, value in request.fields:
            connection.putheader(name, value)
        if request.body is not None:
            connection.putheader("content-length", str(len(request.body)))
        connection.endheaders(request.body)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        began = time.monotonic()
        response = connection.getresponse()
        body = response.read()
        return {
            "path": request.path,
            "status": response.status,
            "fields": response.getheaders(),
            "body": body.decode("latin-1"),
            "seconds": time.monotonic() - began,
        }
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        return {"path": request.path, "status": type(error).__name__, "fields": [], "body": "", "seconds": 0}
    finally:
        connection.close()


def observe(proxy, ports, case):
    told = []
    for nth, request in enumerate(case.requests):
        label = f"{proxy}.{case.name}.{nth}"
        answer = send(ports[case.name], request, label)
        told.append((label, request, answer))
    return told


def summary(label, request, answer, flags, case):
    # Attempts that were given up may still be on their way.
    reached = upstream.seen.get(label, [])
    last = reached[-1] if reached else None
    local = last is None or json.dumps({"host": last["host"]}) != answer["body"]
    return {
        "status": answer["status"],
        "fields": fields(answer["fields"], case),
        "body": answer["body"] if local and request.compare_body else "",
        "attempts": len(reached),
        "upstream": last and {
            "method": last["method"],
            "path": last["path"],
            "fields": fields(last["fields"], case),
            "body": last["body"],
        },
        "host": last and case.compare_host and last["host"],
        **flags.get(label, {"flags": "no log line"}),
        **({"cluster": "any"} if "host" in case.differs or not case.compare_host else {}),
    }


def logged(path, labels):
    """What is logged of each request, once all of them are in the log."""
    deadline = time.monotonic() + 10
    while True:
        lines = path.read_text().splitlines() if path.exists() else []
        said = dict(line.split(" ", 1) for line in lines if " " in line)
        if labels <= said.keys() or time.monotonic() > deadline:
            return {label: spelled(text.split(" ")) for label, text in said.items()}
        time.sleep(0.05)


def spelled(said):
    flags, names, details, *others, cluster = said
    # Envoy writes them in the order in which they came to be.
    flags, names = (",".join(sorted(text.split(","))) for text in (flags, names))
    # What Envoy's transport adds to its own word.
    details = re.sub(r"\|[^}]*", "", details)
    return {"flags": f"{flags} {names}", "details": details, "line": " ".join(others), "cluster": cluster}


def start(command, log, port):
    process = subprocess.Popen(command, stdout=log.open("w"), stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return process
        except OSError:
            time.sleep(0.05)
    process.kill()
    sys.exit(f"{command[0]} did not start:\n{log.read_text()[-4000:]}")


def main():
    ringway, envoy, *wanted = sys.argv[1:]
    chosen = [case for case in cases.CASES if not wanted or any(part in case.name for part in wanted)]
    hosts = {name: upstream.Host(name) for name in "abc"}
    places = {name: host.port for name, host in hosts.items()} | {"dead": free_ports(1)[0]}
    scratch = pathlib.Path(tempfile.mkdtemp())
    running = []
    try:
        ports, told, flags = {}, {}, {}
        for proxy, configure, command in [
            ("envoy", cases.envoy, lambda file: [envoy, "-c", file, "--disable-hot-restart", "--concurrency", "1", "--log-level", "error", "--file-flush-interval-msec", "20"]),
            ("ringway", cases.ringway, lambda file: [ringway, "run", "-c", file]),
        ]:
            admin, *listening = free_ports(1 + len(chosen))
            ports[proxy] = dict(zip((case.name for case in chosen), listening, strict=True))
            file, log = scratch / f"{proxy}.yaml", scratch / f"{proxy}.access"
            file.write_text(json.dumps(configure(chosen, ports[proxy], places, admin, str(log)), indent=1))
            last = list(ports[proxy].values())[-1]
            running.append(start(command(str(file)), scratch / f"{proxy}.out", last))
            told[proxy] = {case.name: observe(proxy, ports[proxy], case) for case in chosen}
            labels = {label for answers in told[proxy].values() for label, _, answer in answers if answer["status"] != "Timeout"}
            flags[proxy] = logged(log, labels)
        return judge(chosen, told, flags)
    finally:
        for process in running:
            process.terminate()
            process.wait(timeout=20)


def judge(chosen, told, flags):
    failed = differing = requests = 0
    for case in chosen:
        pairs = zip(told["envoy"][case.name], told["ringway"][case.name], strict=True)
        faults = []
        if case.check:
            for proxy in ("envoy", "ringway"):
                answers = [(answer, upstream.seen.get(label, [])) for label, _, answer in told[proxy][case.name]]
                fault = case.check(answers)
                if fault:
                    faults.append(f"{proxy}: {fault}")
            requests += len(case.requests)
        else:
            for nth, (theirs, ours) in enumerate(pairs):
                requests += 1
                theirs, ours = (summary(*one, flags[proxy], case) for one, proxy in ((theirs, "envoy"), (ours, "ringway")))
                for key in theirs:
                    if theirs[key] != ours[key] and key not in case.differs:
                        request = case.requests[nth]
                        faults.append(f"{request.method} {request.path} {dict(request.fields)}: {key}\n      envoy    {theirs[key]}\n      ringway  {ours[key]}")
        if faults:
            failed += 1
            print(f"DIFFERS {case.name}")
            for fault in faults:
                print(f"    {fault}")
        elif case.differs:
            differing += 1
            print(f"differs {case.name}: " + "; ".join(f"{key}: {why}" for key, why in case.differs.items()))
    print(f"{len(chosen)} cases, {requests} requests: {len(chosen) - failed - differing} the same, {differing} differ with a reason, {failed} differ without")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
