//! Protocols by name, with their options.

use std::sync::Arc;

use serde_json::Value;

use super::{AUTO, Catalog, TCP};
use crate::error::Fault;
use crate::snapshot::Candidate;

/// The protocols that `name` stands for, their options compiled, and their ALPN names.
pub(super) fn candidates(
    name: &str,
    options: &Value,
    catalog: &Catalog,
    path: &str,
) -> Result<(Arc<[Candidate]>, Vec<String>), Fault> {
    if name != AUTO {
        let Some(spec) = catalog.protocols.iter().find(|spec| spec.name == name) else {
            let known = || catalog.protocols.iter().map(|spec| spec.name).chain([AUTO, TCP]);
            let list = known().collect::<Vec<_>>().join(", ");
            let fault = Fault::new(format!("{path}.protocol"), format!("no protocol `{name}`; there are: {list}"));
            return Err(fault.near(name, known()));
        };
        let options = (spec.compile)(options.clone()).map_err(|error| Fault::new(format!("{path}.options"), error))?;
        let alpn = spec.alpn.iter().map(|name| (*name).to_owned()).collect();
        return Ok((Arc::new([Candidate { protocol: spec.name, options }]), alpn));
    }
    let specs = || catalog.protocols.iter().filter(|spec| !spec.alpn.is_empty());
    let given = match options {
        Value::Null => &serde_json::Map::new(),
        Value::Object(given) => given,
        _ => return Err(Fault::new(format!("{path}.options"), "for `auto`: options of each protocol, by its name")),
    };
    if let Some(unknown) = given.keys().find(|key| specs().all(|spec| spec.name != key.as_str())) {
        let fault = Fault::new(format!("{path}.options.{unknown}"), format!("`auto` is never `{unknown}`"));
        return Err(fault.near(unknown, specs().map(|spec| spec.name)));
    }
    let compiled = specs().map(|spec| {
        let options = given.get(spec.name).cloned().unwrap_or(Value::Null);
        let options = (spec.compile)(options);
        let options = options.map_err(|error| Fault::new(format!("{path}.options.{}", spec.name), error))?;
        Ok(Candidate { protocol: spec.name, options })
    });
    let alpn = specs().flat_map(|spec| spec.alpn).map(|name| (*name).to_owned()).collect();
    Ok((compiled.collect::<Result<_, Fault>>()?, alpn))
}
