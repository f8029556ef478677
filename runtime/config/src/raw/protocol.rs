//! Names of protocols.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A protocol, or several that the first bytes of a connection choose from.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(untagged)]
pub enum ProtocolNames {
    /// One; or `auto`.
    One(String),
    /// Whichever it is, the first that fits.
    Several(Vec<String>),
}

impl ProtocolNames {
    /// Whether it is this one alone.
    pub fn is(&self, name: &str) -> bool {
        matches!(self, Self::One(only) if only == name)
    }
}

impl Default for ProtocolNames {
    fn default() -> Self {
        Self::One("auto".to_owned())
    }
}

impl fmt::Display for ProtocolNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(name) => f.write_str(name),
            Self::Several(names) => f.write_str(&names.join(", ")),
        }
    }
}
