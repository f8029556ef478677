//! Edits of the query's parameters.

use std::collections::BTreeMap;

use ringway_api::{ConnInfo, RequestHead};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::template::{Captured, Template};

/// An edit of the query, as users write it. Values may have operators such as `%REQ(x-user)%`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueryMutationConfig {
    /// Adds a parameter, beside others of its name.
    Append(BTreeMap<String, String>),
    /// Adds a parameter unless there is one of its name.
    AddIfAbsent(BTreeMap<String, String>),
    /// Replaces all parameters of the name by one, or adds it.
    Set(BTreeMap<String, String>),
    /// The same where there is one; adds none.
    Overwrite(BTreeMap<String, String>),
    /// Removes all parameters of the name.
    Remove(String),
}

/// A [`QueryMutationConfig`] of one parameter, checked.
#[derive(Debug)]
pub(crate) struct QueryMutation {
    edit: Edit,
    /// As it stands in a query.
    name: Box<[u8]>,
    value: Template,
}

#[derive(Clone, Copy, Debug)]
enum Edit {
    Append,
    AddIfAbsent,
    Set,
    Overwrite,
    Remove,
}

impl QueryMutation {
    /// # Errors
    /// What is wrong with the first edit that is, and which it is.
    pub(crate) fn compile_all(list: Vec<QueryMutationConfig>) -> Result<Box<[Self]>, String> {
        let mut all = Vec::new();
        for (at, config) in list.into_iter().enumerate() {
            let (edit, fields) = match config {
                QueryMutationConfig::Append(fields) => (Edit::Append, fields),
                QueryMutationConfig::AddIfAbsent(fields) => (Edit::AddIfAbsent, fields),
                QueryMutationConfig::Set(fields) => (Edit::Set, fields),
                QueryMutationConfig::Overwrite(fields) => (Edit::Overwrite, fields),
                QueryMutationConfig::Remove(name) => (Edit::Remove, BTreeMap::from([(name, String::new())])),
            };
            for (name, value) in fields {
                let compiled = Self::compile(edit, &name, &value);
                all.push(compiled.map_err(|error| format!("query[{at}]: {error}"))?);
            }
        }
        Ok(all.into())
    }

    fn compile(edit: Edit, name: &str, value: &str) -> Result<Self, String> {
        if name.is_empty() {
            return Err("a parameter has a name".to_owned());
        }
        let template = Template::compile(value).map_err(|error| format!("{name}: {error}"))?;
        if template.is_late() {
            return Err(format!("{name}: {value:?} says something of the response, which there is none of yet"));
        }
        Ok(Self { edit, name: encoded(name.as_bytes()).into(), value: template })
    }
}

/// Carries the edits out. What they do not name stays as it is, byte for byte.
pub(crate) fn apply(edits: &[QueryMutation], head: &mut RequestHead, conn: &ConnInfo) {
    let query = head.query().unwrap_or_default();
    let mut parameters: Vec<Vec<u8>> =
        query.split(|b| *b == b'&').filter(|text| !text.is_empty()).map(<[u8]>::to_vec).collect();
    let before = parameters.clone();
    for edit in edits {
        let is = |parameter: &Vec<u8>| {
            let name = parameter.split(|b| *b == b'=').next().unwrap_or_default();
            name == &*edit.name || decoded(name) == decoded(&edit.name)
        };
        let exists = parameters.iter().any(is);
        let adds = match edit.edit {
            Edit::Append => true,
            Edit::AddIfAbsent => !exists,
            Edit::Set => {
                parameters.retain(|parameter| !is(parameter));
                true
            }
            Edit::Overwrite => {
                parameters.retain(|parameter| !is(parameter));
                exists
            }
            Edit::Remove => {
                parameters.retain(|parameter| !is(parameter));
                false
            }
        };
        if adds {
            let mut captured = Captured::new();
            edit.value.capture(head, conn, &mut captured);
            let value = edit.value.render(&mut captured.iter(), None, b"");
            parameters.push([&*edit.name, b"=", &encoded(&value)].concat());
        }
    }
    if parameters == before {
        return;
    }
    let mut target = head.path().to_vec();
    if !parameters.is_empty() {
        target.push(b'?');
        target.extend_from_slice(&parameters.join(&b'&'));
    }
    let set = head.set_path_and_query(&target);
    debug_assert!(set.is_ok() || head.tunnel.is_some(), "what is added is encoded; CONNECT has no path");
}

/// Percent-encodes all but what is unreserved (RFC 3986, section 2.3).
fn encoded(text: &[u8]) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = Vec::with_capacity(text.len());
    for byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            encoded.push(*byte);
        } else {
            let digit = |half: u8| HEX.get(usize::from(half)).copied().unwrap_or(b'0');
            encoded.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    encoded
}

/// The text that a part of a query stands for; `+` is a blank, as forms have it.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let hex = |at: usize| after.get(at).and_then(|b| char::from(*b).to_digit(16));
        decoded.push(match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                rest = after.get(2..).unwrap_or_default();
                (high * 16 + low) as u8
            }
            (b'+', ..) => b' ',
            _ => *first,
        });
    }
    decoded
}
