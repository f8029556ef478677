//! One edit of a field.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ringway_api::{ConnInfo, Headers, RequestHead, Response};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::template::{Captured, Template};

/// An edit, as users write it. Values may have operators such as `%REQ(x-user)%`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FieldMutationConfig {
    /// Adds a field, beside others of its name.
    Append(BTreeMap<String, String>),
    /// Adds a field unless there is one of its name.
    AddIfAbsent(BTreeMap<String, String>),
    /// Replaces all fields of the name by one, or adds it.
    Set(BTreeMap<String, String>),
    /// The same where there is one; adds none.
    Overwrite(BTreeMap<String, String>),
    /// Removes all fields of the name.
    Remove(String),
    /// Removes all fields whose name begins with this.
    RemovePrefix(String),
}

/// A [`FieldMutationConfig`] of one field, checked.
#[derive(Debug)]
pub(crate) struct FieldMutation {
    edit: Edit,
    name: Box<str>,
    value: Template,
    literal: bool,
    keeps_empty: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    Append,
    AddIfAbsent,
    Set,
    Overwrite,
    Remove,
    RemovePrefix,
}

impl FieldMutation {
    /// # Errors
    /// What is wrong with the first edit that is, and which it is.
    pub(crate) fn compile_all(
        option: &str,
        list: Vec<FieldMutationConfig>,
        of_response: bool,
    ) -> Result<Box<[Self]>, String> {
        let mut all = Vec::new();
        for (at, config) in list.into_iter().enumerate() {
            let add = |edit, fields: BTreeMap<String, String>, all: &mut Vec<Self>| {
                fields.into_iter().try_for_each(|(name, value)| {
                    all.push(Self::compile(edit, &name, Some(&value), of_response)?);
                    Ok(())
                })
            };
            let done: Result<(), String> = match config {
                FieldMutationConfig::Append(fields) => add(Edit::Append, fields, &mut all),
                FieldMutationConfig::AddIfAbsent(fields) => add(Edit::AddIfAbsent, fields, &mut all),
                FieldMutationConfig::Set(fields) => add(Edit::Set, fields, &mut all),
                FieldMutationConfig::Overwrite(fields) => add(Edit::Overwrite, fields, &mut all),
                FieldMutationConfig::Remove(name) => {
                    Self::compile(Edit::Remove, &name, None, of_response).map(|edit| all.push(edit))
                }
                FieldMutationConfig::RemovePrefix(name) => {
                    Self::compile(Edit::RemovePrefix, &name, None, of_response).map(|edit| all.push(edit))
                }
            };
            done.map_err(|error| format!("{option}[{at}]: {error}"))?;
        }
        Ok(all.into())
    }

    /// A field of a response that replaces others of its name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn set(name: &str, value: &str) -> Result<Self, String> {
        Self::compile(Edit::Set, name, Some(value), true)
    }

    fn compile(edit: Edit, name: &str, value: Option<&str>, of_response: bool) -> Result<Self, String> {
        if !Headers::can_hold(name.as_bytes(), b"") || name.eq_ignore_ascii_case("host") {
            return Err(format!(
                "{name:?} is no field that can be edited: it is no name, or says how messages are framed or routed"
            ));
        }
        let text = value.unwrap_or_default();
        let template = Template::compile(text).map_err(|error| format!("{name}: {error}"))?;
        if template.is_late() && !of_response {
            return Err(format!("{name}: {text:?} says something of the response, which there is none of yet"));
        }
        let literal = !text.contains('%');
        if literal && !Headers::can_hold(name.as_bytes(), text.as_bytes()) {
            return Err(format!("{name}: {text:?} is no value of a field"));
        }
        Ok(Self { edit, name: name.into(), value: template, literal, keeps_empty: text.is_empty() })
    }

    pub(crate) fn edit(&self) -> Edit {
        self.edit
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Nothing but what is written can be its value.
    pub(crate) fn is_literal(&self) -> bool {
        self.literal
    }

    /// An empty value is what is written.
    pub(crate) fn keeps_empty(&self) -> bool {
        self.keeps_empty
    }

    /// Its value says something of the request.
    pub(crate) fn is_early(&self) -> bool {
        self.value.is_early()
    }

    pub(crate) fn capture(&self, head: &RequestHead, conn: &ConnInfo, into: &mut Captured) {
        self.value.capture(head, conn, into);
    }

    pub(crate) fn value<'a>(
        &'a self,
        captured: &mut impl Iterator<Item = &'a Option<Box<[u8]>>>,
        response: Option<&Response>,
    ) -> Cow<'a, [u8]> {
        self.value.render(captured, response, b"")
    }
}
