"""Which route a request takes."""

from case import Case, Request, all_domains, get, to


def same(name, hosts, requests, **more):
    """A case whose virtual hosts both write alike."""
    return Case(name, hosts, hosts, requests, **more)


def domains(*names, cluster="a"):
    return {"name": names[0].replace("*", "any"), "domains": list(names), "routes": [to({"prefix": "/"}, cluster)]}


def header(envoy, ringway, *requests):
    """A header condition in both words."""
    name = f"header_{next(iter(ringway.keys() - {'name', 'invert'}), 'present')}_{'not' if ringway.get('invert') else ''}{len(requests)}"
    return Case(
        name,
        all_domains(to({"prefix": "/", "headers": [{"name": "x-want", **envoy}]}, "b"), to({"prefix": "/"})),
        all_domains(to({"prefix": "/", "headers": [{"name": "x-want", **ringway}]}, "b"), to({"prefix": "/"})),
        list(requests),
    )


CASES = [
    same("prefix", all_domains(to({"prefix": "/api"}, "b"), to({"prefix": "/"})), [get(path) for path in ["/api", "/api/x", "/apis", "/ap", "/", "/API"]]),
    same("exact", all_domains(to({"path": "/exact"}, "b"), to({"prefix": "/"})), [get(path) for path in ["/exact", "/exact?q=1", "/exact/", "/exac", "/Exact"]]),
    Case(
        "segments",
        all_domains(to({"path_separated_prefix": "/api/v1"}, "b"), to({"prefix": "/"})),
        all_domains(to({"path_separated_prefix": "/api/v1"}, "b"), to({"prefix": "/"})),
        [get(path) for path in ["/api/v1", "/api/v1/x", "/api/v1?x", "/api/v10", "/api/v1/"]],
    ),
    Case(
        "regex",
        all_domains(to({"safe_regex": {"regex": "/v[0-9]+/.*"}}, "b"), to({"prefix": "/"})),
        all_domains(to({"safe_regex": "/v[0-9]+/.*"}, "b"), to({"prefix": "/"})),
        [get(path) for path in ["/v1/x", "/v12/", "/v/x", "/xv1/x", "/v1", "/v1/x?q=/v2"]],
    ),
    same("case_insensitive", all_domains(to({"prefix": "/api", "case_sensitive": False}, "b"), to({"prefix": "/"})), [get(path) for path in ["/API/x", "/Api", "/ap"]]),
    same("first_match", all_domains(to({"prefix": "/a"}, "a"), to({"path": "/ab"}, "b"), to({"prefix": "/abc"}, "c")), [get(path) for path in ["/a", "/ab", "/abc"]]),
    same("no_route", all_domains(to({"prefix": "/there"})), [get("/there"), get("/nowhere")]),
    same(
        "domains",
        [domains("example.com"), domains("*.example.com", cluster="b"), domains("www.*", cluster="c")],
        [get("/", host=host) for host in ["example.com", "EXAMPLE.com", "x.example.com", "y.x.example.com", "www.other.org", "other.org", "example.com.", "wexample.com"]],
    ),
    same(
        "longest_suffix",
        [domains("*.com"), domains("*.example.com", cluster="b"), domains("*-bar.example.com", cluster="c")],
        [get("/", host=host) for host in ["a.com", "a.example.com", "foo-bar.example.com", ".com", "com"]],
    ),
    same(
        "ports_of_domains",
        [domains("example.com:8080", cluster="b"), domains("example.com"), domains("*", cluster="c")],
        [get("/", host=host) for host in ["example.com", "example.com:8080", "example.com:9090"]],
        differs={"upstream": "a domain without a port matches every port here (Envoy: with strip_any_host_port)", "host": "the same", "body": "the same"},
    ),
    same("no_host", [domains("a.example")], [get("/", host="b.example"), get("/", host="a.example")]),
    Case(
        "methods",
        all_domains(to({"prefix": "/", "headers": [{"name": ":method", "string_match": {"safe_regex": {"regex": "PUT|POST"}}}]}, "b"), to({"prefix": "/"})),
        all_domains(to({"prefix": "/", "methods": ["PUT", "POST"]}, "b"), to({"prefix": "/"})),
        [Request("/", method=method) for method in ["GET", "PUT", "DELETE"]] + [Request("/", method="POST", body=b"content")],
    ),
    header({"string_match": {"exact": "yes"}}, {"exact": "yes"}, get("/", x_want="yes"), get("/", x_want="YES"), get("/", x_want="yes "), get("/")),
    header({"string_match": {"prefix": "ye"}}, {"prefix": "ye"}, get("/", x_want="yes"), get("/", x_want="y"), get("/")),
    header({"string_match": {"suffix": "es"}}, {"suffix": "es"}, get("/", x_want="yes"), get("/", x_want="ese"), get("/")),
    header({"string_match": {"contains": "e"}}, {"contains": "e"}, get("/", x_want="yes"), get("/", x_want="ys"), get("/")),
    header({"string_match": {"safe_regex": {"regex": "y.s"}}}, {"safe_regex": "y.s"}, get("/", x_want="yes"), get("/", x_want="yees"), get("/")),
    header({"present_match": True}, {"present": True}, get("/", x_want="yes"), get("/", x_want=""), get("/")),
    header({"present_match": False}, {"present": False}, get("/", x_want="yes"), get("/")),
    header({"string_match": {"exact": "no"}, "invert_match": True}, {"exact": "no", "invert": True}, get("/", x_want="no"), get("/", x_want="yes"), get("/")),
    Case(
        "header_twice",
        all_domains(to({"prefix": "/", "headers": [{"name": "x-want", "string_match": {"exact": "a,b"}}]}, "b"), to({"prefix": "/"})),
        all_domains(to({"prefix": "/", "headers": [{"name": "x-want", "exact": "a,b"}]}, "b"), to({"prefix": "/"})),
        [Request("/", [("x-want", "a"), ("x-want", "b")]), Request("/", [("x-want", "a,b")]), Request("/", [("x-want", "a")])],
        differs={"host": "fields of one name are one list here (RFC 9110, section 5.3)"},
    ),
    Case(
        "query",
        all_domains(
            to({"prefix": "/", "query_parameters": [{"name": "q", "string_match": {"exact": "1"}}]}, "b"),
            to({"prefix": "/", "query_parameters": [{"name": "p", "present_match": True}]}, "c"),
            to({"prefix": "/"}),
        ),
        all_domains(
            to({"prefix": "/", "query_parameters": [{"name": "q", "exact": "1"}]}, "b"),
            to({"prefix": "/", "query_parameters": [{"name": "p", "present": True}]}, "c"),
            to({"prefix": "/"}),
        ),
        [get(path) for path in ["/?q=1", "/?q=2", "/?x=0&q=1", "/?p", "/?p=", "/?pp=1", "/", "/?q=1&q=2", "/?q=2&q=1"]],
    ),
    same(
        "normalized",
        all_domains(to({"prefix": "/a/b"}, "b"), to({"prefix": "/"})),
        [get(path) for path in ["/a/./b", "/a/x/../b", "/a/%2e/b", "/a/x/%2E%2e/b", "/a//b", "/../a/b", "/a/b/..", "/a%2Fb"]],
        ringway_listener={"path": {"normalize": True}},
    ),
    Case(
        "weight_zero",
        all_domains({"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": [{"name": "a", "weight": 0}, {"name": "b", "weight": 1}]}}}),
        all_domains({"match": {"prefix": "/"}, "route": {"weighted_clusters": [{"name": "a", "weight": 0}, {"name": "b", "weight": 1}]}}),
        [get("/") for _ in range(10)],
    ),
    Case(
        "weights",
        all_domains({"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": [{"name": "a", "weight": 25}, {"name": "b", "weight": 75}]}}}),
        all_domains({"match": {"prefix": "/"}, "route": {"weighted_clusters": [{"name": "a", "weight": 25}, {"name": "b", "weight": 75}]}}),
        [get("/") for _ in range(200)],
        check=lambda answers: None if 25 <= sum(seen[0]["host"] == "a" for _, seen in answers) <= 80 else "far from a quarter went to a",
    ),
    same("grpc_no_route", all_domains(to({"prefix": "/there"})), [Request("/nowhere", [("content-type", "application/grpc")], method="POST", body=b"")], ignore={"grpc-message"}),
    same("dead_host", all_domains(to({"prefix": "/"}, "dead")), [get("/")]),
    same("upstream_closes", all_domains(to({"prefix": "/"})), [get("/", x_do="close")]),
    same("status_passes", all_domains(to({"prefix": "/"})), [get("/", x_do=f"status={status}") for status in [204, 301, 404, 418, 500, 503]]),
    Case("route_timeout", all_domains(to({"prefix": "/"}, timeout="0.2s")), all_domains(to({"prefix": "/"}, timeout="200ms")), [get("/", x_do="delay=0.6"), get("/")]),
    same("head", all_domains(to({"prefix": "/"})), [Request("/", method="HEAD"), Request("/", method="OPTIONS")]),
    same("content", all_domains(to({"prefix": "/"})), [Request("/", method="POST", body=b"x" * 70000), Request("/", method="PUT", body=b"")]),
]
