"""Which host of a cluster a request goes to."""

from case import Case, all_domains, get, to

MATCH = {"prefix": "/"}


def of(ports, envoy, ringway):
    """A cluster of these hosts, in both words."""
    return {"envoy_clusters": [{**envoy, "ports": ports}], "ringway_clusters": [{**ringway, "ports": ports}]}


def sticky(answers):
    """What has the same key goes to one host, and not everything does."""
    hosts = {}
    for _, seen in answers:
        key = dict(seen[0]["fields"]).get("x-key")
        hosts.setdefault(key, set()).add(seen[0]["host"])
    if any(len(where) > 1 for where in hosts.values()):
        return f"one key went to several hosts: {hosts}"
    return None if len(set().union(*hosts.values())) == 3 else f"not all hosts were used: {hosts}"


def evenly(answers):
    counts = {host: sum(seen[0]["host"] == host for _, seen in answers) for host in "abc"}
    return None if set(counts.values()) == {len(answers) // 3} else f"not in turn: {counts}"


def set_cookie(answers):
    cookies = [[value for name, value in answer["fields"] if name.lower() == "set-cookie"] for answer, _ in answers]
    if len(cookies[0]) != 1 or cookies[1]:
        return f"a cookie for who has none, and none for who has one: {cookies}"
    name, _, rest = cookies[0][0].partition("=")
    attributes = sorted(part.strip().lower() for part in rest.split(";")[1:])
    expected = ["httponly", "max-age=60", "path=/p"]
    return None if name == "stick" and attributes == expected else f"{cookies[0][0]}"


def hashed(name, lb, ringway_lb):
    return Case(
        name,
        all_domains({"match": MATCH, "route": {"cluster": name, "hash_policy": [{"header": {"header_name": "x-key"}}]}}),
        all_domains({"match": MATCH, "route": {"cluster": name, "hash_policy": [{"header": "x-key"}]}}),
        [get("/", x_key=str(at % 30)) for at in range(90)],
        check=sticky,
        **of(["a", "b", "c"], {"name": name, **lb}, {"name": name, "lb": ringway_lb}),
    )


def with_metadata(host, **metadata):
    return host, metadata


def subset(name, policy, ringway, *requests):
    """Three hosts of two versions."""
    hosts = [with_metadata("a", version="1"), with_metadata("b", version="2"), with_metadata("c", version="2")]
    wanted = [("/one", "1"), ("/two", "2"), ("/three", "3")]
    envoy_routes = [{"match": {"prefix": path}, "route": {"cluster": name, "metadata_match": {"filter_metadata": {"envoy.lb": {"version": version}}}}} for path, version in wanted]
    ringway_routes = [{"match": {"prefix": path}, "route": {"cluster": name, "metadata_match": {"version": version}}} for path, version in wanted]
    return Case(
        name,
        all_domains(*envoy_routes, to(MATCH, name)),
        all_domains(*ringway_routes, to(MATCH, name)),
        list(requests),
        compare_host=False,
        check=lambda answers: None,
        envoy_clusters=[{"name": name, "lb_subset_config": {"subset_selectors": [{"keys": ["version"]}], **policy}, "ports": [{"port": host, "metadata": {"filter_metadata": {"envoy.lb": metadata}}} for host, metadata in hosts]}],
        ringway_clusters=[{"name": name, "lb_subset": {"selectors": [["version"]], **ringway}, "ports": [{"port": host, "metadata": metadata} for host, metadata in hosts]}],
    )


def where(expected):
    """Which hosts each path's requests may have gone to; none means 503."""

    def check(answers):
        found = {}
        for answer, seen in answers:
            path = answer["path"].split("?")[0]
            found.setdefault(path, set()).update(one["host"] for one in seen)
            if not seen and answer["status"] != 503:
                return f"{path}: {answer['status']}"
        return None if found == expected else f"{found}"

    return check


def subsets(name, policy, ringway, expected):
    case = subset(name, policy, ringway, *[get(f"{path}?{at}") for path in ["/one", "/two", "/three", "/any"] for at in range(8)])
    case.check = where(expected)
    return case


CASES = [
    Case(
        "round_robin",
        all_domains(to(MATCH, "turns")),
        all_domains(to(MATCH, "turns")),
        [get("/") for _ in range(30)],
        check=evenly,
        **of(["a", "b", "c"], {"name": "turns"}, {"name": "turns"}),
    ),
    hashed("ring_hash", {"lb_policy": "RING_HASH"}, "ring_hash"),
    hashed("maglev", {"lb_policy": "MAGLEV"}, {"maglev": {"table_size": 65537}}),
    Case(
        "cookie_is_made",
        all_domains({"match": MATCH, "route": {"cluster": "cookies", "hash_policy": [{"cookie": {"name": "stick", "ttl": "60s", "path": "/p"}}]}}),
        all_domains({"match": MATCH, "route": {"cluster": "cookies", "hash_policy": [{"cookie": {"name": "stick", "ttl": "60s", "path": "/p"}}]}}),
        [get("/"), get("/", cookie="stick=1234")],
        check=set_cookie,
        **of(["a", "b", "c"], {"name": "cookies", "lb_policy": "RING_HASH"}, {"name": "cookies", "lb": "ring_hash"}),
    ),
    subsets("subset_or_nothing", {"fallback_policy": "NO_FALLBACK"}, {"fallback": "no_endpoint"}, {"/one": {"a"}, "/two": {"b", "c"}, "/three": set(), "/any": set()}),
    subsets("subset_or_any", {"fallback_policy": "ANY_ENDPOINT"}, {"fallback": "any_endpoint"}, {"/one": {"a"}, "/two": {"b", "c"}, "/three": {"a", "b", "c"}, "/any": {"a", "b", "c"}}),
    subsets("subset_or_default", {"fallback_policy": "DEFAULT_SUBSET", "default_subset": {"version": "1"}}, {"fallback": "default_subset", "default_subset": {"version": "1"}}, {"/one": {"a"}, "/two": {"b", "c"}, "/three": {"a"}, "/any": {"a"}}),
]
