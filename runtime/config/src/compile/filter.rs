//! Stream filters, of listeners and of routes.

use std::sync::Arc;

use super::Catalog;
use crate::error::Fault;
use crate::raw;
use crate::route::RouteFilters;
use crate::snapshot::Filter;

/// A list of filters.
pub(super) fn filters(entries: &[raw::FilterEntry], catalog: &Catalog, path: &str) -> Result<Vec<Filter>, Fault> {
    entries.iter().enumerate().map(|(at, entry)| filter(entry, catalog, &format!("{path}[{at}]"))).collect()
}

/// What a virtual host or route says of filters, on top of what is said around it; nothing when it says nothing.
pub(super) fn of_routes(
    entries: &[raw::FilterEntry],
    disabled: &[String],
    around: Option<&RouteFilters>,
    catalog: &Catalog,
    path: &str,
) -> Result<Option<RouteFilters>, Fault> {
    if entries.is_empty() && disabled.is_empty() {
        return Ok(None);
    }
    for (at, name) in disabled.iter().enumerate() {
        find(name, catalog, &format!("{path}.disable_filters[{at}]"))?;
    }
    let mut own = filters(entries, catalog, &format!("{path}.filters"))?;
    for (at, filter) in own.iter().enumerate() {
        let name = filter.spec.name;
        if own.iter().take(at).any(|other| other.spec.name == name) {
            let path = format!("{path}.filters[{at}].{name}");
            return Err(Fault::new(path, format!("a route has one `{name}` at most")));
        }
        if disabled.iter().any(|disabled| disabled == name) {
            let path = format!("{path}.filters[{at}].{name}");
            return Err(Fault::new(path, "it cannot be disabled and have options both"));
        }
    }
    let mut without: Vec<Box<str>> = disabled.iter().map(|name| name.as_str().into()).collect();
    if let Some(around) = around {
        let named = |name: &str| disabled.iter().any(|other| other == name);
        let ours: Vec<_> = own.iter().map(|filter| filter.spec.name).collect();
        let mut all: Vec<_> = around
            .filters
            .iter()
            .filter(|outer| !named(outer.spec.name) && !ours.contains(&outer.spec.name))
            .cloned()
            .collect();
        all.append(&mut own);
        own = all;
        without.extend(around.disabled.iter().filter(|name| !ours.contains(&&***name)).cloned());
    }
    Ok(Some(RouteFilters { name: Arc::from(path), filters: own, disabled: without }))
}

fn filter(entry: &raw::FilterEntry, catalog: &Catalog, path: &str) -> Result<Filter, Fault> {
    let mut entries = entry.0.iter();
    let (Some((name, options)), None) = (entries.next(), entries.next()) else {
        return Err(Fault::new(path, "one filter with its options, such as `{ grpc_web: {} }`"));
    };
    let path = format!("{path}.{name}");
    let spec = find(name, catalog, &path)?;
    let options = (spec.compile)(options.clone()).map_err(|error| Fault::new(path, error))?;
    Ok(Filter { spec: *spec, options })
}

fn find<'c>(name: &str, catalog: &'c Catalog, path: &str) -> Result<&'c ringway_api::FilterSpec, Fault> {
    catalog.filters.iter().find(|spec| spec.name == name).ok_or_else(|| {
        let known = || catalog.filters.iter().map(|spec| spec.name);
        let list = known().collect::<Vec<_>>().join(", ");
        Fault::new(path, format!("no filter `{name}`; there are: {list}")).near(name, known())
    })
}
