//! Edits of header fields and query parameters, as Envoy's `header_mutation`.

mod field;
mod query;

use std::collections::BTreeMap;
use std::sync::Arc;

use ringway_api::{Action, ConnInfo, FilterCx, Headers, Request, RequestHead, Response, StreamCx, StreamFilter};
use schemars::JsonSchema;
use serde::Deserialize;

pub use self::field::FieldMutationConfig;
use self::field::{Edit, FieldMutation};
use self::query::QueryMutation;
pub use self::query::QueryMutationConfig;
use crate::template::Captured;

/// Edits the fields of requests and responses and the query of requests, in the order in which the edits stand.
pub struct HeaderMutation {
    edits: Arc<Mutations>,
}

/// What users write.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderMutationConfig {
    /// Edits of the request's fields.
    #[serde(default)]
    request: Vec<FieldMutationConfig>,
    /// Edits of the query.
    #[serde(default)]
    query: Vec<QueryMutationConfig>,
    /// Edits of the response's fields.
    #[serde(default)]
    response: Vec<FieldMutationConfig>,
    /// Route an edited request anew, where the filter stands on a listener.
    #[serde(default)]
    reroute: bool,
}

/// [`HeaderMutationConfig`], checked.
#[derive(Debug)]
pub struct Mutations {
    request: Box<[FieldMutation]>,
    query: Box<[QueryMutation]>,
    response: Box<[FieldMutation]>,
    reroute: bool,
}

impl StreamFilter for HeaderMutation {
    const NAME: &'static str = "header_mutation";
    type Config = HeaderMutationConfig;
    type Compiled = Mutations;
    /// What the response's edits need of the request.
    type State = Captured;

    fn compile(config: HeaderMutationConfig) -> Result<Mutations, String> {
        let compiled = Mutations {
            request: FieldMutation::compile_all("request", config.request, false)?,
            query: QueryMutation::compile_all(config.query)?,
            response: FieldMutation::compile_all("response", config.response, true)?,
            reroute: config.reroute,
        };
        if compiled.request.is_empty() && compiled.query.is_empty() && compiled.response.is_empty() {
            return Err("nothing to edit: `request`, `query` and `response` are empty".to_owned());
        }
        Ok(compiled)
    }

    fn build(edits: Arc<Mutations>, _: Option<&Self>, _: FilterCx) -> Self {
        Self { edits }
    }

    fn on_request(&self, state: &mut Captured, request: &mut Request, cx: &StreamCx) -> Action {
        let edits = &*self.edits;
        for mutation in &edits.response {
            mutation.capture(&request.head, &cx.conn.info, state);
        }
        for mutation in &edits.request {
            let mut captured = Captured::new();
            mutation.capture(&request.head, &cx.conn.info, &mut captured);
            let value = mutation.value(&mut captured.iter(), None);
            apply(mutation, &value, &mut request.head.headers);
        }
        if !edits.query.is_empty() {
            query::apply(&edits.query, &mut request.head, &cx.conn.info);
        }
        if edits.reroute { Action::Reroute } else { Action::Continue }
    }

    fn on_response(&self, state: &mut Captured, response: &mut Response, _: &StreamCx) {
        let mut captured = state.iter();
        for mutation in &self.edits.response {
            let value = mutation.value(&mut captured, Some(response));
            apply(mutation, &value, &mut response.head.headers);
        }
    }
}

/// Fields that are set on a response that is made here.
#[derive(Debug)]
pub(crate) struct Fields(Box<[FieldMutation]>);

/// # Errors
/// What is wrong with one of them.
pub(crate) fn fields(fields: BTreeMap<String, String>) -> Result<Fields, String> {
    let set = fields.into_iter().map(|(name, value)| FieldMutation::set(&name, &value));
    Ok(Fields(set.collect::<Result<_, _>>()?))
}

impl Fields {
    /// Whether a value says something of the request.
    pub(crate) fn is_early(&self) -> bool {
        self.0.iter().any(FieldMutation::is_early)
    }

    pub(crate) fn capture(&self, head: &RequestHead, conn: &ConnInfo, into: &mut Captured) {
        self.0.iter().for_each(|field| field.capture(head, conn, into));
    }

    pub(crate) fn apply<'a>(
        &'a self,
        captured: &mut impl Iterator<Item = &'a Option<Box<[u8]>>>,
        response: &mut Response,
    ) {
        for field in &self.0 {
            let value = field.value(captured, Some(response));
            apply(field, &value, &mut response.head.headers);
        }
    }
}

/// Carries one edit out. A value that is empty because what it refers to is not there adds no field.
fn apply(mutation: &FieldMutation, value: &[u8], headers: &mut Headers) {
    let name = mutation.name();
    let exists = || headers.first(name).is_some();
    let edit = match mutation.edit() {
        Edit::Remove => {
            headers.remove(name);
            return;
        }
        Edit::RemovePrefix => {
            let starts =
                |field: &[u8]| field.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()));
            // What says how the message is framed is no field to be edited.
            headers.retain(|_, field, _| !starts(field) || !Headers::can_hold(field, b""));
            return;
        }
        _ if value.is_empty() && !mutation.keeps_empty() => return,
        Edit::AddIfAbsent if exists() => return,
        Edit::Overwrite if !exists() => return,
        Edit::Append | Edit::AddIfAbsent => headers.append(name, value),
        Edit::Set | Edit::Overwrite => headers.set(name, value),
    };
    // The name was checked, and values are those of fields; one from elsewhere that is no field's adds none.
    debug_assert!(edit.is_ok() || !mutation.is_literal(), "{name}");
}
