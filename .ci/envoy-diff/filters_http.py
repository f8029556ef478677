"""Filters that are about HTTP itself."""

import gzip

from case import Case, Request, all_domains, get, to

ROUTE = to({"prefix": "/"})
TYPE = "type.googleapis.com/envoy.extensions."
GZIP = f"{TYPE}compression.gzip."


def percent(number):
    return {"default_value": {"numerator": number}}


def filtered(name, kind, envoy, ringway, *requests, **more):
    """A filter of one name in both."""
    ours = more.pop("named", name.split("__")[0])
    config = {"@type": f"{TYPE}filters.http.{kind}", **envoy}
    return Case(
        name,
        all_domains(ROUTE),
        all_domains(ROUTE),
        list(requests),
        envoy_filters=[{"name": f"envoy.filters.http.{ours}", "typed_config": config}],
        ringway_filters=[{ours: ringway}],
        **more,
    )


def cors(name, envoy, ringway, *requests, ignore=()):
    """What stands on the virtual host there stands on the listener here."""
    origins = [{"exact": "https://a.example"}, {"suffix": ".b.example"}]
    theirs = {"@type": f"{TYPE}filters.http.cors.v3.CorsPolicy", "allow_origin_string_match": origins, **envoy}
    return Case(
        f"cors_{name}",
        all_domains(ROUTE, typed_per_filter_config={"envoy.filters.http.cors": theirs}),
        all_domains(ROUTE),
        list(requests),
        envoy_filters=[{"name": "envoy.filters.http.cors", "typed_config": {"@type": f"{TYPE}filters.http.cors.v3.Cors"}}],
        ringway_filters=[{"cors": {"allow_origins": origins, **ringway}}],
        # Added here, so that no cache gives one origin's permission to another.
        ignore={"vary", *ignore},
    )


def preflight(origin, **fields):
    return Request("/", [("origin", origin), ("access-control-request-method", "PUT"), *fields.items()], method="OPTIONS")


PREFLIGHTS = [preflight("https://a.example"), preflight("https://c.example")]
CROSS = [
    get("/", origin="https://a.example"),
    get("/", origin="https://x.b.example"),
    get("/", origin="https://c.example"),
    get("/", origin="https://a.example", x_do="field=access-control-allow-origin:*"),
    get("/"),
    Request("/", [("origin", "https://a.example")], method="OPTIONS"),
]
FULL_ENVOY = {"allow_methods": "GET,PUT", "allow_headers": "x-a,x-b", "expose_headers": "x-c", "max_age": "600", "allow_credentials": True}
FULL_RINGWAY = {"allow_methods": ["GET", "PUT"], "allow_headers": ["x-a", "x-b"], "expose_headers": ["x-c"], "max_age": "10m", "allow_credentials": True}


def csrf(name, envoy, ringway):
    requests = [
        Request("/", [*fields], method=method, body=b"")
        for method in ("POST", "PUT", "PATCH", "DELETE", "GET")
        for fields in (
            [("origin", "http://example.com")],
            [("origin", "https://evil.example")],
            [("referer", "http://example.com/page")],
            [("referer", "http://evil.example/example.com")],
            [("origin", "https://friend.example")],
            [("origin", "null")],
            [],
        )
    ]
    friend = [{"exact": "friend.example"}]
    return filtered(
        f"csrf__{name}", "csrf.v3.CsrfPolicy", {"additional_origins": friend, **envoy},
        {"additional_origins": friend, **ringway}, *requests,
    )


def gzipped(name, common, ringway, *requests, envoy=None, **more):
    """Compression of whatever the host answers, which is short."""
    direction = {"common_config": {"min_content_length": 5, **common}, **(envoy or {})}
    return filtered(
        f"compressor__{name}",
        "compressor.v3.Compressor",
        {"response_direction_config": direction, "compressor_library": {"name": "gzip", "typed_config": {"@type": f"{GZIP}compressor.v3.Gzip"}}},
        {"codings": ["gzip"], "min_content_length": 5, **ringway},
        *requests,
        **more,
    )


def accepting(value, orders=""):
    return get("/", accept_encoding=value, **({"x_do": orders} if orders else {}))


def edit(action, name, value):
    return {"append": {"header": {"key": name, "value": value}, "append_action": action}}


def parameter(action, name, value):
    return {"append": {"record": {"key": name, "value": value}, "action": action}}


EDITS = [("append", "APPEND_IF_EXISTS_OR_ADD"), ("add_if_absent", "ADD_IF_ABSENT"), ("set", "OVERWRITE_IF_EXISTS_OR_ADD"), ("overwrite", "OVERWRITE_IF_EXISTS")]
ZIPPED = gzip.compress(b"hello " * 50, mtime=0)
MAPPED = {"comparison": {"op": "EQ", "value": {"default_value": 404, "runtime_key": "none"}}}

CASES = [
    cors("plain", {}, {}, *CROSS, *PREFLIGHTS),
    cors("full", FULL_ENVOY, FULL_RINGWAY, *CROSS),
    # It means nothing in the answer to a preflight.
    cors("preflights", FULL_ENVOY, FULL_RINGWAY, *PREFLIGHTS, ignore={"access-control-expose-headers"}),
    cors("answers_all_preflights", {"forward_not_matching_preflights": False}, {"forward_not_matching_preflights": False}, *CROSS, *PREFLIGHTS),
    cors(
        "private_network",
        {"allow_private_network_access": True},
        {"allow_private_network_access": True},
        preflight("https://a.example", **{"access-control-request-private-network": "true"}),
        preflight("https://a.example"),
    ),
    cors("any", {"allow_origin_string_match": [{"exact": "*"}]}, {"allow_origins": [{"exact": "*"}]}, *CROSS, *PREFLIGHTS),
    cors("shadow", {"filter_enabled": percent(0), "shadow_enabled": percent(100)}, {"enabled": 0, "shadow": True}, *CROSS, *PREFLIGHTS),
    csrf("on", {"filter_enabled": percent(100)}, {}),
    csrf("shadow", {"filter_enabled": percent(0), "shadow_enabled": percent(100)}, {"enabled": 0, "shadow": True}),
    filtered(
        "header_mutation__fields",
        "header_mutation.v3.HeaderMutation",
        {"mutations": {
            "request_mutations": [*[edit(action, name, word) for word, action in EDITS for name in ("x-a", f"x-{word}")], {"remove": "x-gone"}],
            "response_mutations": [edit("OVERWRITE_IF_EXISTS_OR_ADD", "x-code", "%RESPONSE_CODE% %REQ(x-a)%"), {"remove": "x-b"}],
        }},
        {
            "request": [*[{word.replace("-", "_"): {name: word}} for word, _ in EDITS for name in ("x-a", f"x-{word}")], {"remove": "x-gone"}],
            "response": [{"set": {"x-code": "%RESPONSE_CODE% %REQ(x-a)%"}}, {"remove": "x-b"}],
        },
        get("/"),
        get("/", x_a="1", x_gone="2", x_do="field=x-b:1"),
        get("/", x_overwrite="1", x_set="2", x_append="3", x_add_if_absent="4"),
        # Operators of the response's edits see the request as it came here, there as it was sent on.
        ignore={"x-code"},
    ),
    filtered(
        "header_mutation__query",
        "header_mutation.v3.HeaderMutation",
        {"mutations": {"query_parameter_mutations": [
            *[parameter(action, name, word) for word, action in EDITS for name in ("a", word)], {"remove": "gone"},
        ]}},
        {"query": [*[{word: {name: word}} for word, _ in EDITS for name in ("a", word)], {"remove": "gone"}]},
        *[get(path) for path in ("/", "/?a=1", "/?gone=1&b=2", "/?overwrite=1&set=2&append=3&add_if_absent=4")],
        differs={"upstream": "Envoy sorts the parameters, here those that no edit names stay where they are"},
    ),
    filtered(
        "buffer",
        "buffer.v3.Buffer",
        {"max_request_bytes": 10},
        {"max_request_bytes": 10},
        get("/"),
        Request("/", method="POST", body=b"0123456789"),
        Request("/", method="POST", body=b"0123456789a", compare_body=True),
        Request("/", method="POST", body=b""),
    ),
    gzipped(
        "accept",
        {},
        {},
        *[accepting(value) for value in ("gzip", "deflate, gzip;q=0.5", "identity", "gzip;q=0", "*", "*;q=0", "br", "identity;q=0.5, gzip;q=0.4", "gzip;q=0.5, identity;q=0.5")],
        get("/"),
    ),
    gzipped(
        "responses",
        {},
        {},
        *[accepting("gzip", orders) for orders in (
            "field=content-encoding:br", "field=cache-control:no-transform", "status=404", "field=etag:W/\"a\"",
        )],
    ),
    gzipped("any_case", {}, {}, accepting("GZIP"), differs={"fields": "codings have no case (RFC 9110, section 8.4.1)"}),
    gzipped(
        "partial", {}, {}, accepting("gzip", "status=204"), accepting("gzip", "status=206"),
        differs={"fields": "a part of a representation cannot be compressed for itself, no content needs no Vary"},
    ),
    gzipped(
        "vary", {}, {}, accepting("gzip", "field=vary:origin"), accepting("gzip", "field=vary:accept-encoding"),
        differs={"fields": "a field line of its own instead of a longer list, and none where the list has it"},
    ),
    gzipped("strong_etag", {}, {}, accepting("gzip", "field=etag:\"a\""), differs={"fields": "Envoy drops a strong ETag, here it becomes a weak one"}),
    gzipped("skips_etag", {}, {"etag": "skip"}, accepting("gzip", "field=etag:\"a\""), accepting("gzip"), envoy={"disable_on_etag_header": True}),
    gzipped("other_types", {"content_type": ["text/html"]}, {"content_types": ["text/html"]}, accepting("gzip")),
    gzipped("too_short", {"min_content_length": 1000}, {"min_content_length": 1000}, accepting("gzip")),
    filtered(
        "decompressor",
        "decompressor.v3.Decompressor",
        {
            "decompressor_library": {"name": "gzip", "typed_config": {"@type": f"{GZIP}decompressor.v3.Gzip"}},
            "response_direction_config": {"common_config": {"enabled": {"default_value": False, "runtime_key": "none"}}},
            "request_direction_config": {"advertise_accept_encoding": False},
        },
        {"codings": ["gzip"]},
        Request("/", [("content-encoding", "gzip")], method="POST", body=ZIPPED),
        Request("/", [("content-encoding", "br")], method="POST", body=b"abc"),
        Request("/", [("content-encoding", "gzip"), ("cache-control", "no-transform")], method="POST", body=ZIPPED),
        Request("/", method="POST", body=ZIPPED),
    ),
    Case(
        "local_reply",
        all_domains(to({"prefix": "/a"}), to({"prefix": "/dead"}, "dead"), {"match": {"prefix": "/direct"}, "direct_response": {"status": 404, "body": {"inline_string": "mine"}}}),
        all_domains(to({"prefix": "/a"}), to({"prefix": "/dead"}, "dead"), {"match": {"prefix": "/direct"}, "direct_response": {"status": 404, "body": "mine"}}),
        [get("/a"), get("/a", x_do="status=404"), Request("/none", [("x-user", "me")], compare_body=True), Request("/dead", compare_body=True), Request("/direct", compare_body=True)],
        envoy_manager={"local_reply_config": {"mappers": [
            {
                "filter": {"status_code_filter": MAPPED},
                "status_code": 410,
                "body_format_override": {"text_format_source": {"inline_string": "%RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %REQ(x-user)%"}},
                "headers_to_add": [{"header": {"key": "x-mapped", "value": "yes"}}],
            },
            {
                "filter": {"response_flag_filter": {"flags": ["UF"]}},
                "body_format_override": {"content_type": "text/html", "text_format_source": {"inline_string": "<p>%RESPONSE_CODE%"}},
            },
        ]}},
        ringway_filters=[{"local_reply": {"mappings": [
            {"match": {"status": [404]}, "status": 410, "body": {"text": "%RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %REQ(x-user)%"}, "headers": {"x-mapped": "yes"}},
            {"match": {"flags": ["UF"]}, "body": {"text": "<p>%RESPONSE_CODE%", "content_type": "text/html"}},
        ]}}],
    ),
]
