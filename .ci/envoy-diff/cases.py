"""Equivalent configurations, and what is sent through them."""

import balancing
import filters_http
import matching
import resilience
import routing

# What is logged of each request, in operators that both have.
LOGGED = " ".join([
    "%REQ(X-CASE)%", "%RESPONSE_FLAGS%", "%RESPONSE_FLAGS_LONG%", "%RESPONSE_CODE_DETAILS%", "%RESPONSE_CODE%", "%PROTOCOL%",
    "%REQ(:METHOD)%", "%REQUESTED_SERVER_NAME%", "%TRAILER(X)%", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "%BYTES_RECEIVED%", "%UPSTREAM_CLUSTER%",
])

ROUTER = {
    "name": "envoy.filters.http.router",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
}


def envoy(chosen, ports, places, admin, log):
    """Envoy's configuration: a listener for each case."""
    clusters = {name: envoy_cluster(name, [port]) for name, port in places.items()}
    for case in chosen:
        for cluster in case.envoy_clusters:
            clusters[cluster["name"]] = envoy_cluster(**filled(cluster, places))
    return {
        "admin": {"address": address(admin)},
        "static_resources": {
            "listeners": [
                {"name": case.name, "address": address(ports[case.name]), "filter_chains": [{"filters": [manager(case, log)]}]}
                for case in chosen
            ],
            "clusters": list(clusters.values()),
        },
    }


def manager(case, log):
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": case.name,
            "use_remote_address": True,
            "normalize_path": True,
            "access_log": [{
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                    "path": log,
                    "log_format": {"text_format_source": {"inline_string": LOGGED + "\n"}},
                },
            }],
            "route_config": {"name": case.name, "virtual_hosts": case.envoy, **case.envoy_table},
            "http_filters": [*case.envoy_filters, ROUTER],
            **case.envoy_manager,
        },
    }


def envoy_cluster(name, ports, **options):
    endpoints = []
    for port in ports:
        more = {} if isinstance(port, int) else {key: value for key, value in port.items() if key != "port"}
        endpoints.append({"endpoint": {"address": address(port if isinstance(port, int) else port["port"])}, **more})
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
        **options,
    }


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def ringway(chosen, ports, places, admin, log):
    """Ringway's, likewise."""
    clusters = {name: ringway_cluster(name, [port]) for name, port in places.items()}
    for case in chosen:
        for cluster in case.ringway_clusters:
            clusters[cluster["name"]] = ringway_cluster(**filled(cluster, places))
    return {
        "workers": 1,
        "admin": {"address": f"127.0.0.1:{admin}"},
        "listeners": [
            {
                "name": case.name,
                "address": f"127.0.0.1:{ports[case.name]}",
                "protocol": "http1",
                "access_log": {"path": log, "format": LOGGED},
                "filters": case.ringway_filters,
                "routes": {"virtual_hosts": case.ringway, **case.ringway_table},
                **case.ringway_listener,
            }
            for case in chosen
        ],
        "clusters": list(clusters.values()),
    }


def ringway_cluster(name, ports, **options):
    endpoints = []
    for port in ports:
        more = {} if isinstance(port, int) else {key: value for key, value in port.items() if key != "port"}
        endpoints.append({"address": f"127.0.0.1:{port if isinstance(port, int) else port['port']}", **more})
    return {"name": name, "endpoints": endpoints, "connect_timeout": "2s", **options}


def filled(cluster, places):
    """Names of hosts replaced by their ports."""
    port = lambda port: {**port, "port": places[port["port"]]} if isinstance(port, dict) else places.get(port, port)
    return {**cluster, "ports": [port(one) for one in cluster["ports"]]}


CASES = [*matching.CASES, *routing.CASES, *resilience.CASES, *balancing.CASES, *filters_http.CASES]
assert len({case.name for case in CASES}) == len(CASES), "two cases of one name"
