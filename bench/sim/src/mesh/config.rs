//! Configurations of a mesh: what a service registry would say.

use std::rc::Rc;

use serde_json::{Value, json};

use super::plan::LISTENER;

/// A listener with so many virtual hosts, each with a few routes, shared evenly among the clusters. Every route that
/// sends requests on has what `route` says besides.
pub(crate) fn config(virtual_hosts: usize, clusters: &[Value], route: &Value) -> Value {
    let of = |at: usize| {
        let mut route = route.clone();
        let cluster = clusters.get(at % clusters.len().max(1)).and_then(|cluster| cluster.get("name"));
        if let (Some(route), Some(cluster)) = (route.as_object_mut(), cluster) {
            route.insert("cluster".to_owned(), cluster.clone());
        }
        json!({
            "domains": [name(at)],
            "routes": [
                { "match": { "path": "/healthz" }, "direct_response": { "status": 200 } },
                { "match": { "prefix": "/api/" }, "route": route.clone() },
                { "match": { "prefix": "/" }, "route": route },
            ],
        })
    };
    let virtual_hosts: Vec<Value> = (0..virtual_hosts).map(of).collect();
    json!({
        "listeners": [{
            "name": "mesh",
            "address": LISTENER,
            "protocol": "http1",
            "routes": { "virtual_hosts": virtual_hosts },
        }],
        "clusters": clusters,
    })
}

/// The names of every `step`-th of the virtual hosts, from the one at `from`: those of one cluster, where `step` is how
/// many clusters there are.
pub(crate) fn host_names(virtual_hosts: usize, from: usize, step: usize) -> Rc<[String]> {
    (from..virtual_hosts).step_by(step.max(1)).map(name).collect()
}

fn name(at: usize) -> String {
    format!("service-{at}.mesh.example.com")
}
