//! The configuration's JSON Schema.

use schemars::generate::SchemaSettings;

use crate::compile::Catalog;
use crate::raw;

/// The JSON Schema of configurations, with the options of every protocol and filter beside it.
pub fn json_schema(catalog: &Catalog) -> serde_json::Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let root = generator.subschema_for::<raw::Config>();
    let options: serde_json::Map<String, serde_json::Value> =
        catalog.protocols.iter().map(|spec| (spec.name.to_owned(), (spec.schema)(&mut generator).to_value())).collect();
    let filters: serde_json::Map<String, serde_json::Value> =
        catalog.filters.iter().map(|spec| (spec.name.to_owned(), (spec.schema)(&mut generator).to_value())).collect();
    let balancers: serde_json::Map<String, serde_json::Value> =
        catalog.balancers.iter().map(|spec| (spec.name.to_owned(), (spec.schema)(&mut generator).to_value())).collect();
    let mut schema = root.to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        object.insert("title".into(), "Ringway configuration".into());
        object.insert("x-protocol-options".into(), options.into());
        object.insert("x-filter-options".into(), filters.into());
        object.insert("x-balancer-options".into(), balancers.into());
        object.insert("$defs".into(), generator.take_definitions(true).into());
    }
    schema
}
