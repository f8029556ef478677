//! Changes to header fields.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Changes to the fields of a message: first what is taken away, then what is added.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct FieldEdits {
    /// Fields that are added.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<AddedField>,
    /// Names of fields that are taken away.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

/// A field that is added.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct AddedField {
    /// Its name.
    pub name: String,
    /// Its value, with the access log's operators: `%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%`. A percent sign is `%%`.
    pub value: String,
    /// What happens when there is one of its name.
    #[serde(default)]
    pub append: Append,
    /// Add it even when its value turns out to be empty.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_empty_value: bool,
}

/// What happens when there is a field of the name.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Append {
    /// There are two then.
    #[default]
    AppendIfExistsOrAdd,
    /// It stays alone.
    AddIfAbsent,
    /// It gives way.
    OverwriteIfExistsOrAdd,
    /// It gives way; where there is none, none is added.
    OverwriteIfExists,
}

impl FieldEdits {
    pub(crate) fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }
}
