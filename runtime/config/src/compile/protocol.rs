//! Protocols by name, with their options.

use std::sync::Arc;

use ringway_api::ProtocolSpec;
use serde_json::Value;

use super::{AUTO, Catalog, TCP};
use crate::error::Fault;
use crate::raw::ProtocolNames;
use crate::snapshot::Candidate;

/// Protocols with their options compiled, and their ALPN names.
type Candidates = (Arc<[Candidate]>, Vec<String>);

/// The protocols that connections of a listener may speak.
pub(super) fn candidates(
    names: &ProtocolNames,
    options: &Value,
    catalog: &Catalog,
    path: &str,
) -> Result<Candidates, Fault> {
    let names = match names {
        ProtocolNames::One(name) => return one(name, options, catalog, path),
        ProtocolNames::Several(names) => names,
    };
    let mut specs: Vec<&ProtocolSpec> = Vec::with_capacity(names.len());
    for (at, name) in names.iter().enumerate() {
        let path = format!("{path}.protocol[{at}]");
        let spec = find(name, catalog, &path)?;
        if specs.iter().any(|other| other.name == spec.name) {
            return Err(Fault::new(path, format!("`{name}` is there already")));
        }
        specs.push(spec);
    }
    if specs.is_empty() {
        return Err(Fault::new(format!("{path}.protocol"), "at least one protocol is needed"));
    }
    several(&specs, options, path)
}

/// The protocols that `name` stands for.
pub(super) fn one(name: &str, options: &Value, catalog: &Catalog, path: &str) -> Result<Candidates, Fault> {
    if name == AUTO {
        let specs: Vec<_> = catalog.protocols.iter().filter(|spec| !spec.alpn.is_empty()).collect();
        return several(&specs, options, path);
    }
    let spec = find(name, catalog, &format!("{path}.protocol"))?;
    let options = (spec.compile)(options.clone()).map_err(|error| Fault::new(format!("{path}.options"), error))?;
    let alpn = spec.alpn.iter().map(|name| (*name).to_owned()).collect();
    Ok((Arc::new([Candidate { protocol: spec.name, options }]), alpn))
}

fn find<'c>(name: &str, catalog: &'c Catalog, path: &str) -> Result<&'c ProtocolSpec, Fault> {
    catalog.protocols.iter().find(|spec| spec.name == name).ok_or_else(|| {
        let known = || catalog.protocols.iter().map(|spec| spec.name).chain([AUTO, TCP]);
        let list = known().collect::<Vec<_>>().join(", ");
        Fault::new(path, format!("no protocol `{name}`; there are: {list}")).near(name, known())
    })
}

fn several(specs: &[&ProtocolSpec], options: &Value, path: &str) -> Result<Candidates, Fault> {
    let given = match options {
        Value::Null => &serde_json::Map::new(),
        Value::Object(given) => given,
        _ => {
            let message = "where there are several protocols: options of each, by its name";
            return Err(Fault::new(format!("{path}.options"), message));
        }
    };
    if let Some(unknown) = given.keys().find(|key| specs.iter().all(|spec| spec.name != key.as_str())) {
        let fault = Fault::new(format!("{path}.options.{unknown}"), format!("`{unknown}` is not spoken here"));
        return Err(fault.near(unknown, specs.iter().map(|spec| spec.name)));
    }
    let compiled = specs.iter().map(|spec| {
        let options = given.get(spec.name).cloned().unwrap_or(Value::Null);
        let options = (spec.compile)(options);
        let options = options.map_err(|error| Fault::new(format!("{path}.options.{}", spec.name), error))?;
        Ok(Candidate { protocol: spec.name, options })
    });
    let alpn = specs.iter().flat_map(|spec| spec.alpn).map(|name| (*name).to_owned()).collect();
    Ok((compiled.collect::<Result<_, Fault>>()?, alpn))
}
