"""What a case is made of."""

import dataclasses
import typing


@dataclasses.dataclass
class Request:
    path: str
    fields: list = dataclasses.field(default_factory=list)
    method: str = "GET"
    host: str = "example.com"
    body: bytes | None = None
    # Of replies that the proxies make themselves.
    compare_body: bool = False


@dataclasses.dataclass
class Case:
    name: str
    # Virtual hosts, as each of them writes them.
    envoy: list
    ringway: list
    requests: list
    envoy_clusters: list = dataclasses.field(default_factory=list)
    ringway_clusters: list = dataclasses.field(default_factory=list)
    envoy_filters: list = dataclasses.field(default_factory=list)
    ringway_filters: list = dataclasses.field(default_factory=list)
    # Further members of the route table, and of Envoy's connection manager.
    envoy_table: dict = dataclasses.field(default_factory=dict)
    ringway_table: dict = dataclasses.field(default_factory=dict)
    envoy_manager: dict = dataclasses.field(default_factory=dict)
    # Further members of Ringway's listener.
    ringway_listener: dict = dataclasses.field(default_factory=dict)
    # Where chance decides: what must hold for the answers of either proxy, instead of being the same.
    check: typing.Callable | None = None
    # Whether both must pick the same host.
    compare_host: bool = True
    # Fields that are no part of the case.
    ignore: set = dataclasses.field(default_factory=set)
    # What may differ, with the reason.
    differs: dict = dataclasses.field(default_factory=dict)


def get(path, host="example.com", **fields):
    """A request without content; `x_name=value` is a field `x-name`."""
    return Request(path, [(name.replace("_", "-"), value) for name, value in fields.items()], host=host)


def all_domains(*routes, **more):
    return [{"name": "all", "domains": ["*"], "routes": list(routes), **more}]


def to(match, cluster="a", **action):
    """A route in the words that both share."""
    return {"match": match, "route": {"cluster": cluster, **action}}
