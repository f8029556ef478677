//! Changes to header fields.

use std::sync::Arc;

use ringway_api::Headers;

use super::Catalog;
use super::matcher::{Keyed, fault};
use crate::raw;
use crate::route::{Edit, Edits, Template, Value};

/// The changes of one level; nothing when there are none.
pub(super) fn edits(
    request: &raw::FieldEdits,
    response: &raw::FieldEdits,
    catalog: &Catalog,
    key: &str,
) -> Result<Option<Arc<Edits>>, Keyed> {
    if request.is_empty() && response.is_empty() {
        return Ok(None);
    }
    let list = |raw, name: &str| list(raw, catalog, &format!("{key}{name}"));
    Ok(Some(Arc::new(Edits {
        request: list(request, "request_headers")?,
        response: list(response, "response_headers")?,
    })))
}

fn list(raw: &raw::FieldEdits, catalog: &Catalog, key: &str) -> Result<Box<[Edit]>, Keyed> {
    let mut list = Vec::with_capacity(raw.add.len() + raw.remove.len());
    for (at, name) in raw.remove.iter().enumerate() {
        check_name(name, &format!("{key}.remove[{at}]"))?;
        list.push(Edit::Remove(name.as_str().into()));
    }
    for (at, field) in raw.add.iter().enumerate() {
        check_name(&field.name, &format!("{key}.add[{at}].name"))?;
        let key = format!("{key}.add[{at}].value");
        let value = if field.value.contains('%') {
            let compiled = (catalog.compile_value)(&field.value).map_err(|error| fault(key.as_str(), error))?;
            Value::Template(Template(compiled))
        } else {
            if Headers::new().append("a", field.value.as_bytes()).is_err() {
                return Err(fault(key, "control characters cannot stand in a field's value"));
            }
            Value::Literal(field.value.as_str().into())
        };
        let (name, append, keep_empty) = (field.name.as_str().into(), field.append, field.keep_empty_value);
        list.push(Edit::Add { name, value, append, keep_empty });
    }
    Ok(list.into())
}

/// What the codecs write themselves is not for lists like these.
fn check_name(name: &str, key: &str) -> Result<(), Keyed> {
    if name.starts_with(':') {
        let message = format!("`{name}` is changed by `host_rewrite`, `prefix_rewrite`, `regex_rewrite` and the like");
        return Err(fault(key, message));
    }
    if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(fault(key, format!("`{name}` is no name of a field")));
    }
    let owned = ["connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];
    if owned.iter().any(|owned| name.eq_ignore_ascii_case(owned)) {
        let instead = if name.eq_ignore_ascii_case("host") { "; `host_rewrite` changes it" } else { "" };
        return Err(fault(key, format!("`{name}` belongs to the protocol{instead}")));
    }
    Ok(())
}
