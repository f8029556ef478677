//! Values.

use std::sync::Arc;

/// A value. What was a reference is a copy of what it referred to.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// 32 bits; Java's `byte` and `short` too.
    Int(i32),
    /// 64 bits
    Long(i64),
    /// 64 bits; Java's `float` too.
    Double(f64),
    /// Milliseconds since 1970 in UTC.
    Date(i64),
    /// Bytes.
    Binary(Vec<u8>),
    /// Text; Java's `char` too.
    String(String),
    /// An array, a list or a set.
    List {
        /// Such as `[int`, for an array; `None` for a list of no special kind.
        type_name: Option<Arc<str>>,
        /// What is in it.
        items: Vec<Value>,
    },
    /// A map.
    Map {
        /// The name of its class; `None` for a map of no special kind.
        type_name: Option<Arc<str>>,
        /// Keys and values as they come.
        entries: Vec<(Value, Value)>,
    },
    /// An object.
    Object {
        /// What it is.
        class: Arc<Class>,
        /// The values of the class's fields, in their order.
        fields: Vec<Value>,
    },
}

/// The class of objects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    /// Its full name.
    pub name: String,
    /// The names of the fields.
    pub fields: Vec<String>,
}

impl Value {
    /// A list of no special kind.
    pub fn list(items: Vec<Self>) -> Self {
        Self::List { type_name: None, items }
    }

    /// A map of no special kind.
    pub fn map(entries: Vec<(Self, Self)>) -> Self {
        Self::Map { type_name: None, entries }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}
