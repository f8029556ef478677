"""Timeouts, retries, mirrors, and what happens when hosts do not answer."""

from case import Case, Request, all_domains, get, to

MATCH = {"prefix": "/"}
SLOWLY = {"base_interval": "0.01s", "max_interval": "0.02s"}


def retried(name, envoy, ringway, *requests, cluster="a", envoy_route=None, ringway_route=None, **more):
    """A route with a retry policy."""
    envoy = {"retry_back_off": SLOWLY, **envoy}
    ringway = {"back_off": {"base_interval": "10ms", "max_interval": "20ms"}, **ringway}
    return Case(
        f"retry_{name}",
        all_domains({"match": MATCH, "route": {"cluster": cluster, "retry_policy": envoy, **(envoy_route or {})}}),
        all_domains({"match": MATCH, "route": {"cluster": cluster, "retry": ringway, **(ringway_route or {})}}),
        list(requests),
        **more,
    )


def on(name, reasons, *requests, attempts=2, **more):
    """The same reasons in both words."""
    return retried(name, {"retry_on": reasons, "num_retries": attempts}, {"on": reasons.split(","), "attempts": attempts}, *requests, **more)


def two(name, envoy, ringway, **more):
    """Clusters of a dead host and a living one."""
    return {
        "envoy_clusters": [{"name": name, "ports": ["dead", "b"], **envoy}],
        "ringway_clusters": [{"name": name, "ports": ["dead", "b"], **ringway}],
        **more,
    }


POST = Request("/", [("x-do", "fail=1")], method="POST", body=b"x" * 3000)

CASES = [
    on("5xx", "5xx", get("/", x_do="fail=1"), get("/", x_do="fail=2"), get("/", x_do="fail=3"), get("/", x_do="status=404"), POST),
    on("gateway_error", "gateway-error", get("/", x_do="status=500"), get("/", x_do="fail=1"), get("/", x_do="status=502")),
    on("reset", "reset", get("/", x_do="closeonce"), get("/", x_do="close"), get("/", x_do="fail=1")),
    on("connect_failure", "connect-failure", get("/"), get("/", x_do="close"), cluster="dead", attempts=3),
    on("reset_is_no_connect_failure", "connect-failure", get("/", x_do="closeonce")),
    on("4xx", "retriable-4xx", get("/", x_do="status=409"), get("/", x_do="status=404")),
    retried(
        "status_codes",
        {"retry_on": "retriable-status-codes", "retriable_status_codes": [418], "num_retries": 1},
        {"on": ["retriable-status-codes"], "retriable_status_codes": [418]},
        get("/", x_do="status=418"), get("/", x_do="status=503"),
    ),
    retried(
        "headers",
        {"retry_on": "retriable-headers", "retriable_headers": [{"name": "x-again", "present_match": True}], "num_retries": 1},
        {"on": ["retriable-headers"], "retriable_headers": [{"name": "x-again", "present": True}]},
        get("/", x_do="field=x-again:1"), get("/", x_do="field=x-other:1"),
    ),
    retried(
        "per_try_timeout",
        {"retry_on": "5xx", "num_retries": 1, "per_try_timeout": "0.2s"},
        {"on": ["5xx"], "per_try_timeout": "200ms"},
        get("/", x_do="delayonce=0.6"), get("/", x_do="delay=0.6"),
    ),
    retried(
        "within_the_route_timeout",
        {"retry_on": "5xx", "num_retries": 5, "per_try_timeout": "0.2s"},
        {"on": ["5xx"], "attempts": 5, "per_try_timeout": "200ms"},
        get("/", x_do="delay=0.6"),
        envoy_route={"timeout": "0.3s"}, ringway_route={"timeout": "300ms"},
    ),
    retried(
        "another_host",
        {"retry_on": "connect-failure", "num_retries": 2, "host_selection_retry_max_attempts": 5, "retry_host_predicate": [{"name": "p", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"}}]},
        {"on": ["connect-failure"], "attempts": 2, "host_selection": ["previous_hosts"], "host_selection_retry_max_attempts": 5},
        *[get("/") for _ in range(6)],
        cluster="half",
        **two("half", {}, {}),
        differs={"line": "a host that is dead is left alone for a moment, so that later requests need one attempt"},
    ),
    on("ratelimited", "envoy-ratelimited", get("/", x_do="status=429;field=x-envoy-ratelimited:true"), get("/", x_do="status=429")),
    on("ratelimited_is_no_5xx", "5xx", get("/", x_do="status=503;field=x-envoy-ratelimited:true")),
    on(
        "overloaded", "5xx", get("/", x_do="status=503;field=x-envoy-overloaded:true"),
        differs={"attempts": "what an overloaded proxy has refused is not retried, unless the route says `nested`", "flags": "the same", "line": "the same"},
    ),
    on(
        "grpc", "unavailable,resource-exhausted",
        *[Request("/s/m", [("content-type", "application/grpc"), ("x-do", f"field=grpc-status:{status}")], method="POST", body=b"\0\0\0\0\0") for status in (14, 8, 13, 0)],
    ),
    on("of_larger_content", "5xx", Request("/", [("x-do", "fail=2")], method="POST", body=b"y" * 50000)),
    Case(
        "retry_attempt_count",
        all_domains({"match": MATCH, "route": {"cluster": "a", "retry_policy": {"retry_on": "5xx", "num_retries": 2, "retry_back_off": SLOWLY}}}, include_request_attempt_count=True),
        all_domains({"match": MATCH, "route": {"cluster": "a", "retry": {"on": ["5xx"], "attempts": 2, "include_attempt_count": True}}}),
        [get("/", x_do="fail=2"), get("/")],
    ),
    retried(
        "hedged",
        {"retry_on": "5xx", "num_retries": 1, "per_try_timeout": "0.2s"},
        {"on": ["5xx"], "per_try_timeout": "200ms", "hedge_on_per_try_timeout": True},
        get("/", x_do="delayonce=1"),
        envoy_route={"hedge_policy": {"hedge_on_per_try_timeout": True}},
    ),
    retried(
        "idle_try",
        {"retry_on": "5xx", "num_retries": 1, "per_try_idle_timeout": "0.2s"},
        {"on": ["5xx"], "per_try_idle_timeout": "200ms"},
        get("/", x_do="delayonce=1"), get("/", x_do="delay=0.6"),
    ),
    retried(
        "as_long_as_asked",
        {"retry_on": "retriable-status-codes", "retriable_status_codes": [429], "num_retries": 1, "rate_limited_retry_back_off": {"reset_headers": [{"name": "retry-after", "format": "SECONDS"}]}},
        {"on": ["retriable-status-codes"], "retriable_status_codes": [429], "rate_limited_back_off": {}},
        get("/", x_do="status=429;field=retry-after:1"),
    ),
    retried(
        "no_place",
        {"retry_on": "5xx", "num_retries": 2},
        {"on": ["5xx"], "attempts": 2},
        get("/", x_do="status=503"),
        cluster="careful",
        envoy_clusters=[{"name": "careful", "ports": ["a"], "circuit_breakers": {"thresholds": [{"max_retries": 0}]}}],
        ringway_clusters=[{"name": "careful", "ports": ["a"], "limits": {"max_retries": 0}}],
    ),
    retried(
        "no_place_in_the_budget",
        {"retry_on": "5xx", "num_retries": 2},
        {"on": ["5xx"], "attempts": 2},
        get("/", x_do="status=503"),
        cluster="careful",
        envoy_clusters=[{"name": "careful", "ports": ["a"], "circuit_breakers": {"thresholds": [{"retry_budget": {"budget_percent": {"value": 0}, "min_retry_concurrency": 0}}]}}],
        ringway_clusters=[{"name": "careful", "ports": ["a"], "retry_budget": {"percent": 0, "min_concurrency": 0}}],
    ),
    Case(
        "mirror",
        all_domains({"match": MATCH, "route": {"cluster": "a", "request_mirror_policies": [{"cluster": "b"}]}}),
        all_domains({"match": MATCH, "route": {"cluster": "a", "mirror": [{"cluster": "b"}]}}),
        [get("/p?q"), Request("/", method="POST", body=b"content")],
        check=lambda answers: next((f"{len(seen)} requests were seen" for answer, seen in answers if answer["status"] != 200 or sorted(one["host"] for one in seen) != ["a", "b"] or any(one["host"] == "b" and dict(one["fields"])["host"] != "example.com-shadow" for one in seen)), None),
    ),
    Case(
        "mirror_that_is_dead",
        all_domains({"match": MATCH, "route": {"cluster": "a", "request_mirror_policies": [{"cluster": "dead"}]}}),
        all_domains({"match": MATCH, "route": {"cluster": "a", "mirror": [{"cluster": "dead"}]}}),
        [get("/"), get("/")],
    ),
    Case(
        "no_hosts",
        all_domains(to(MATCH, "empty")),
        all_domains(to(MATCH, "empty")),
        [get("/")],
        envoy_clusters=[{"name": "empty", "ports": []}],
        ringway_clusters=[{"name": "empty", "ports": []}],
    ),
    Case(
        "overflow",
        all_domains(to(MATCH, "closed")),
        all_domains(to(MATCH, "closed")),
        [get("/")],
        envoy_clusters=[{"name": "closed", "ports": ["a"], "circuit_breakers": {"thresholds": [{"max_requests": 0}]}}],
        ringway_clusters=[{"name": "closed", "ports": ["a"], "limits": {"max_requests": 0}}],
    ),
]
