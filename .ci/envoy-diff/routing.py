"""What routes do with requests: rewrites, edits, answers of their own."""

from case import Case, Request, all_domains, get, to

REST = to({"prefix": "/"})


def add(name, value, action="APPEND_IF_EXISTS_OR_ADD", **more):
    """An added field in Envoy's words."""
    return {"header": {"key": name, "value": value}, "append_action": action, **more}


def field(name, value, append="APPEND_IF_EXISTS_OR_ADD"):
    """And in Ringway's."""
    return {"name": name, "value": value, "append": append}


def edits(name, pairs, *requests, **more):
    """Fields added to requests and responses of a route."""
    return Case(
        name,
        all_domains({**REST, "request_headers_to_add": [add(*pair) for pair in pairs], "response_headers_to_add": [add(*pair) for pair in pairs]}),
        all_domains({**REST, "request_headers": {"add": [field(*pair) for pair in pairs]}, "response_headers": {"add": [field(*pair) for pair in pairs]}}),
        list(requests),
        **more,
    )


def redirect(name, envoy, ringway, *requests, match=None):
    match = match or {"prefix": "/"}
    return Case(f"redirect_{name}", all_domains({"match": match, "redirect": envoy}), all_domains({"match": match, "redirect": ringway}), list(requests))


def actions(name, match, envoy, ringway, *requests, ringway_match=None, **more):
    """A route with these actions besides its cluster."""
    return Case(
        name,
        all_domains({"match": match, "route": {"cluster": "b", **envoy}}, REST),
        all_domains({"match": ringway_match or match, "route": {"cluster": "b", **ringway}}, REST),
        list(requests),
        **more,
    )


PATHS = [get(path) for path in ["/api", "/api/", "/api/x", "/api/x?q=/api", "/apis/y", "/other"]]

CASES = [
    actions("prefix_rewrite", {"prefix": "/api"}, {"prefix_rewrite": "/v2"}, {"prefix_rewrite": "/v2"}, *PATHS),
    actions("prefix_rewrite_slash", {"prefix": "/api/"}, {"prefix_rewrite": "/"}, {"prefix_rewrite": "/"}, *PATHS),
    actions("prefix_rewrite_root", {"prefix": "/api"}, {"prefix_rewrite": "/"}, {"prefix_rewrite": "/"}, *PATHS),
    actions("segment_rewrite", {"path_separated_prefix": "/api"}, {"prefix_rewrite": "/v2"}, {"prefix_rewrite": "/v2"}, *PATHS),
    actions("path_rewrite", {"path": "/api"}, {"prefix_rewrite": "/new"}, {"prefix_rewrite": "/new"}, *PATHS),
    actions(
        "regex_rewrite",
        {"prefix": "/service"},
        {"regex_rewrite": {"pattern": {"regex": "^/service/([^/]+)(/.*)$"}, "substitution": "\\2/instance/\\1"}},
        {"regex_rewrite": {"pattern": "^/service/([^/]+)(/.*)$", "substitution": "\\2/instance/\\1"}},
        *[get(path) for path in ["/service/foo/v1/api", "/service/foo/v1/api?q=/service/x/y", "/service/foo", "/service"]],
    ),
    actions(
        "regex_rewrite_all",
        {"prefix": "/"},
        {"regex_rewrite": {"pattern": {"regex": "one"}, "substitution": "two"}},
        {"regex_rewrite": {"pattern": "one", "substitution": "two"}},
        get("/xxx/one/yyy/one/zzz"), get("/none"), get("/?one"),
    ),
    actions(
        "template",
        {"path_match_policy": {"name": "t", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig", "path_template": "/shelves/{shelf}/books/{book}"}}},
        {"path_rewrite_policy": {"name": "t", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig", "path_template_rewrite": "/b/{book}/of/{shelf}"}}},
        {"path_template_rewrite": "/b/{book}/of/{shelf}"},
        *[get(path) for path in ["/shelves/7/books/9", "/shelves/7/books/9?q", "/shelves/7/books/", "/shelves//books/9", "/shelves/7/books/9/x", "/x"]],
        ringway_match={"path_template": "/shelves/{shelf}/books/{book}"},
    ),
    actions(
        "template_rest",
        {"path_match_policy": {"name": "t", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig", "path_template": "/a/*/c/{rest=**}"}}},
        {}, {},
        *[get(path) for path in ["/a/b/c/d", "/a/b/c/d/e/f", "/a/b/c/", "/a/b/x/c/d", "/a/b"]],
        ringway_match={"path_template": "/a/*/c/{rest=**}"},
    ),
    actions("host_rewrite", {"prefix": "/"}, {"host_rewrite_literal": "inner.example"}, {"host_rewrite": "inner.example"}, get("/"), get("/", host="x.org:81")),
    actions("host_rewrite_header", {"prefix": "/"}, {"host_rewrite_header": "x-to"}, {"host_rewrite_header": "x-to"}, get("/", x_to="there.example"), get("/")),
    actions("cluster_header", {"prefix": "/c"}, {"cluster": None, "cluster_header": "x-cluster"}, {"cluster": None, "cluster_header": "x-cluster"}, get("/c", x_cluster="c"), get("/c", x_cluster="none"), get("/c"), get("/")),
    actions(
        "cluster_not_found", {"prefix": "/c"},
        {"cluster": None, "cluster_header": "x-cluster", "cluster_not_found_response_code": "NOT_FOUND"},
        {"cluster": None, "cluster_header": "x-cluster", "cluster_not_found_response_code": 404},
        get("/c", x_cluster="none"),
    ),
    edits("added_fields", [("x-new", "1"), ("x-there", "2")], get("/"), get("/", x_there="1", x_do="field=x-there:1")),
    edits("added_if_absent", [("x-there", "2", "ADD_IF_ABSENT")], get("/"), get("/", x_there="1", x_do="field=x-there:1")),
    edits("overwritten", [("x-there", "2", "OVERWRITE_IF_EXISTS_OR_ADD")], get("/"), get("/", x_there="1", x_do="field=x-there:1")),
    edits("overwritten_if_there", [("x-there", "2", "OVERWRITE_IF_EXISTS")], get("/"), get("/", x_there="1", x_do="field=x-there:1")),
    edits(
        "operators",
        [("x-a", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"), ("x-b", "pre-%REQ(x-in)%-post"), ("x-c", "%PROTOCOL%"), ("x-d", "100%%"), ("x-e", "%REQ(:METHOD)% %REQ(:PATH)% %REQ(:AUTHORITY)%"), ("x-f", "%UPSTREAM_CLUSTER%")],
        get("/p?q", x_in="given"), get("/"),
    ),
    edits("operators_of_responses", [("x-g", "%RESP(x-up)%/%RESPONSE_CODE%")], get("/", x_do="field=x-up:yes"), differs={"upstream": "there is no response yet: no code here, 0 there"}),
    Case(
        "removed_fields",
        all_domains({**REST, "request_headers_to_remove": ["x-gone"], "response_headers_to_remove": ["x-up"]}),
        all_domains({**REST, "request_headers": {"remove": ["x-gone"]}, "response_headers": {"remove": ["x-up"]}}),
        [get("/", x_gone="1", x_kept="2", x_do="field=x-up:1;field=x-kept:2")],
    ),
    Case(
        "levels_of_edits",
        all_domains({**REST, "request_headers_to_add": [add("x-l", "route")]}, request_headers_to_add=[add("x-l", "host")]),
        all_domains({**REST, "request_headers": {"add": [field("x-l", "route")]}}, request_headers={"add": [field("x-l", "host")]}),
        [get("/")],
        envoy_table={"request_headers_to_add": [add("x-l", "table")]},
        ringway_table={"request_headers": {"add": [field("x-l", "table")]}},
    ),
    Case(
        "levels_overwrite",
        all_domains({**REST, "response_headers_to_add": [add("x-l", "route", "OVERWRITE_IF_EXISTS_OR_ADD")]}, response_headers_to_add=[add("x-l", "host", "OVERWRITE_IF_EXISTS_OR_ADD")]),
        all_domains({**REST, "response_headers": {"add": [field("x-l", "route", "OVERWRITE_IF_EXISTS_OR_ADD")]}}, response_headers={"add": [field("x-l", "host", "OVERWRITE_IF_EXISTS_OR_ADD")]}),
        [get("/"), get("/none")],
    ),
    Case(
        "weighted_edits",
        all_domains({"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": [{"name": "b", "weight": 1, "request_headers_to_add": [add("x-l", "cluster")]}]}}, "request_headers_to_add": [add("x-l", "route")]}),
        all_domains({"match": {"prefix": "/"}, "route": {"weighted_clusters": [{"name": "b", "weight": 1, "request_headers": {"add": [field("x-l", "cluster")]}}]}, "request_headers": {"add": [field("x-l", "route")]}}),
        [get("/")],
    ),
    Case(
        "edits_of_failures",
        all_domains({"match": {"prefix": "/"}, "route": {"cluster": "dead"}, "response_headers_to_add": [add("x-l", "route")]}),
        all_domains({"match": {"prefix": "/"}, "route": {"cluster": "dead"}, "response_headers": {"add": [field("x-l", "route")]}}),
        [get("/")],
    ),
    Case(
        "edits_without_cluster",
        all_domains({"match": {"prefix": "/"}, "route": {"cluster_header": "x-c"}, "response_headers_to_add": [add("x-l", "route")]}),
        all_domains({"match": {"prefix": "/"}, "route": {"cluster_header": "x-c"}, "response_headers": {"add": [field("x-l", "route")]}}),
        [get("/")],
    ),
    redirect("https", {"https_redirect": True}, {"https": True}, get("/x?y"), get("/", host="a.com:80"), get("/", host="a.com:8080")),
    redirect("host", {"host_redirect": "new.example"}, {"host": "new.example"}, get("/x?y"), get("/", host="a.com:8080")),
    redirect("port", {"port_redirect": 8443}, {"port": 8443}, get("/x"), get("/", host="a.com:80")),
    redirect("host_and_port", {"host_redirect": "new.example", "port_redirect": 81, "scheme_redirect": "https"}, {"host": "new.example", "port": 81, "scheme": "https"}, get("/x")),
    redirect("path", {"path_redirect": "/new"}, {"path": "/new"}, get("/x"), get("/x?y=1")),
    redirect("path_with_query", {"path_redirect": "/new?z=2"}, {"path": "/new?z=2"}, get("/x"), get("/x?y=1")),
    redirect("prefix", {"prefix_rewrite": "/v2"}, {"prefix_rewrite": "/v2"}, get("/api/x?y"), get("/api"), match={"prefix": "/api"}),
    redirect("regex", {"regex_rewrite": {"pattern": {"regex": "/([a-z]+)/([a-z]+)"}, "substitution": "/\\2/\\1"}}, {"regex_rewrite": {"pattern": "/([a-z]+)/([a-z]+)", "substitution": "/\\2/\\1"}}, get("/a/b?q"), get("/1")),
    redirect("strip_query", {"host_redirect": "n.example", "strip_query": True}, {"host": "n.example", "strip_query": True}, get("/x?y")),
    *[
        redirect(code.lower(), {"host_redirect": "n.example", "response_code": code}, {"host": "n.example", "response_code": number}, get("/"))
        for code, number in [("FOUND", 302), ("SEE_OTHER", 303), ("TEMPORARY_REDIRECT", 307), ("PERMANENT_REDIRECT", 308)]
    ],
    Case(
        "direct_response",
        all_domains({"match": {"path": "/text"}, "direct_response": {"status": 418, "body": {"inline_string": "short and stout"}}}, {"match": {"prefix": "/"}, "direct_response": {"status": 204}}),
        all_domains({"match": {"path": "/text"}, "direct_response": {"status": 418, "body": "short and stout"}}, {"match": {"prefix": "/"}, "direct_response": {"status": 204}}),
        [Request("/text", compare_body=True), Request("/", compare_body=True), Request("/text", method="HEAD")],
    ),
    Case(
        "direct_response_edits",
        all_domains({"match": {"prefix": "/"}, "direct_response": {"status": 200}, "response_headers_to_add": [add("x-l", "%REQ(:PATH)%")]}),
        all_domains({"match": {"prefix": "/"}, "direct_response": {"status": 200}, "response_headers": {"add": [field("x-l", "%REQ(:PATH)%")]}}),
        [get("/p")],
    ),
    Case(
        "range",
        all_domains(to({"prefix": "/", "headers": [{"name": "x-n", "range_match": {"start": "-10", "end": "5"}}]}, "b"), REST),
        all_domains(to({"prefix": "/", "headers": [{"name": "x-n", "range": {"start": -10, "end": 5}}]}, "b"), REST),
        [get("/", x_n=number) for number in ["-10", "-11", "4", "5", "0", "+1", "1.5", "x", ""]] + [get("/")],
    ),
    Case(
        "missing_is_empty",
        all_domains(to({"prefix": "/", "headers": [{"name": "x-n", "string_match": {"exact": ""}, "treat_missing_header_as_empty": True}]}, "b"), REST),
        all_domains(to({"prefix": "/", "headers": [{"name": "x-n", "exact": "", "treat_missing_as_empty": True}]}, "b"), REST),
        [get("/", x_n=""), get("/", x_n="a"), get("/")],
    ),
    Case(
        "missing_inverted",
        all_domains(to({"prefix": "/", "headers": [{"name": "x-n", "string_match": {"exact": "a"}, "invert_match": True, "treat_missing_header_as_empty": True}]}, "b"), REST),
        all_domains(to({"prefix": "/", "headers": [{"name": "x-n", "exact": "a", "invert": True, "treat_missing_as_empty": True}]}, "b"), REST),
        [get("/", x_n="a"), get("/", x_n="b"), get("/")],
    ),
    Case(
        "ignored_case",
        all_domains(to({"prefix": "/", "headers": [{"name": "x-n", "string_match": {"contains": "aBc", "ignore_case": True}}]}, "b"), REST),
        all_domains(to({"prefix": "/", "headers": [{"name": "x-n", "contains": "aBc", "ignore_case": True}]}, "b"), REST),
        [get("/", x_n="xABCx"), get("/", x_n="abc"), get("/", x_n="ab")],
    ),
    Case(
        "grpc_only",
        all_domains(to({"prefix": "/", "grpc": {}}, "b"), REST),
        all_domains(to({"prefix": "/", "grpc": True}, "b"), REST),
        [Request("/s/m", [("content-type", kind)], method="POST", body=b"") for kind in ["application/grpc", "application/grpc+proto", "application/grpc-web", "application/json"]],
        ignore={"grpc-message", "grpc-status", "content-type"},
        differs={"status": "what a host that speaks no gRPC says is passed on"},
    ),
    Case(
        "cookies",
        all_domains(to({"prefix": "/", "cookies": [{"name": "user", "string_match": {"exact": "jason"}}]}, "b"), REST),
        all_domains(to({"prefix": "/", "cookies": [{"name": "user", "exact": "jason"}]}, "b"), REST),
        [get("/", cookie=cookie) for cookie in ["user=jason", "a=b; user=jason", "user=eve", "xuser=jason", "user=eve; user=jason"]] + [get("/")],
    ),
    Case(
        "no_chance",
        all_domains(to({"prefix": "/", "runtime_fraction": {"default_value": {"numerator": 0, "denominator": "HUNDRED"}}}, "b"), REST),
        all_domains(to({"prefix": "/", "runtime_fraction": 0}, "b"), REST),
        [get("/") for _ in range(5)],
    ),
    Case(
        "a_third",
        all_domains(to({"prefix": "/", "runtime_fraction": {"default_value": {"numerator": 30, "denominator": "HUNDRED"}}}, "b"), REST),
        all_domains(to({"prefix": "/", "runtime_fraction": 30}, "b"), REST),
        [get("/") for _ in range(200)],
        check=lambda answers: None if 30 <= sum(seen[0]["host"] == "b" for _, seen in answers) <= 90 else "far from 30 % went to b",
    ),
]
