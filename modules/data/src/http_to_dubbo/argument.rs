//! Arguments: what JSON and text become as values of a type. What does not fit is said, never bent.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringway_hessian2::Value;

use super::date;
use super::json::Json;
use super::types::{Kind, Type};

/// Lists, maps and objects within each other, as deep as readers go.
const MAX_DEPTH: u32 = 60;

/// Whether objects of classes are written as maps of no special kind, which generic calls want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generic(pub(super) bool);

impl Type {
    /// The value that JSON says.
    pub(super) fn read_json(&self, json: Json, generic: Generic) -> Result<Value, String> {
        self.json(json, generic, 0)
    }

    /// The value that text says: of a path or a query, or a name in JSON.
    pub(super) fn read_text(&self, text: String) -> Result<Value, String> {
        let wrong = || Err(format!("a text that is no {}", self.describe()));
        Ok(match &self.kind {
            Kind::Text | Kind::Any => Value::String(text),
            Kind::Char => return character(text).ok_or_else(|| self.expected("a longer or shorter text")),
            Kind::Boolean => match text.as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                _ => return wrong(),
            },
            Kind::Int(_) | Kind::Long => match text.parse() {
                Ok(number) if !text.starts_with('+') => return self.whole(number),
                _ => return wrong(),
            },
            Kind::Float | Kind::Double => match text.parse::<f64>() {
                // Not `inf`, `nan` and their like.
                Ok(number) if text.ends_with(|c: char| c.is_ascii_digit()) && !text.starts_with('+') => {
                    return self.real(number);
                }
                _ => return wrong(),
            },
            Kind::Date => match text.parse().ok().or_else(|| date::parse(&text)) {
                Some(millis) => Value::Date(millis),
                None => return wrong(),
            },
            Kind::Bytes => match STANDARD.decode(&text) {
                Ok(bytes) => Value::Binary(bytes),
                Err(_) => return wrong(),
            },
            Kind::List { .. } | Kind::Map { .. } | Kind::Class(_) => return wrong(),
        })
    }

    fn json(&self, json: Json, generic: Generic, depth: u32) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} arrays and objects within each other"));
        }
        match (&self.kind, json) {
            (_, Json::Null) if self.primitive => Err(self.expected("null")),
            (_, Json::Null) => Ok(Value::Null),
            (Kind::Any, json) => any(json, depth),
            (Kind::Boolean, Json::Bool(value)) => Ok(Value::Bool(value)),
            (Kind::Int(_) | Kind::Long, Json::Whole(number)) => self.whole(number),
            (Kind::Float | Kind::Double, Json::Whole(number)) => self.real(number as f64),
            (Kind::Float | Kind::Double, Json::Number(number)) => self.real(number),
            (Kind::Date, Json::Whole(millis)) => Ok(Value::Date(millis)),
            (Kind::Text | Kind::Char | Kind::Date | Kind::Bytes, Json::String(text)) => self.read_text(text),
            (Kind::List { element, wire }, Json::Array(items)) => {
                let items = items.into_iter().enumerate().map(|(at, item)| {
                    element.json(item, generic, depth + 1).map_err(|error| format!("element {at}: {error}"))
                });
                Ok(Value::List { type_name: wire.clone(), items: items.collect::<Result<_, _>>()? })
            }
            (Kind::Map { key, value, wire }, Json::Object(members)) => {
                let entries = members.into_iter().enumerate().map(|(at, (name, member))| {
                    let key = key.read_text(name).map_err(|error| format!("name of member {at}: {error}"))?;
                    let value = value.json(member, generic, depth + 1);
                    Ok((key, value.map_err(|error| format!("member {at}: {error}"))?))
                });
                Ok(Value::Map { type_name: wire.clone(), entries: entries.collect::<Result<_, String>>()? })
            }
            (Kind::Class(name), Json::Object(members)) => {
                let type_name = (!generic.0).then(|| Arc::clone(name));
                Ok(Value::Map { type_name, entries: entries(members, depth)? })
            }
            (_, json) => Err(self.expected(json.kind())),
        }
    }

    fn whole(&self, number: i64) -> Result<Value, String> {
        let Kind::Int(bits) = self.kind else { return Ok(Value::Long(number)) };
        let most = i64::MAX >> (64 - bits);
        match i32::try_from(number) {
            Ok(small) if (-most - 1..=most).contains(&number) => Ok(Value::Int(small)),
            _ => Err(self.expected("an integer out of its range")),
        }
    }

    fn real(&self, number: f64) -> Result<Value, String> {
        let most = if self.kind == Kind::Float { f64::from(f32::MAX) } else { f64::MAX };
        if number.abs() <= most { Ok(Value::Double(number)) } else { Err(self.expected("a number out of its range")) }
    }

    fn expected(&self, found: &str) -> String {
        format!("{found} where {} is needed", self.describe())
    }

    fn describe(&self) -> String {
        match &self.kind {
            Kind::Boolean => "boolean".into(),
            Kind::Int(bits) => format!("integer of {bits} bits"),
            Kind::Long => "integer of 64 bits".into(),
            Kind::Float => "number of single precision".into(),
            Kind::Double => "number".into(),
            Kind::Char => "text of one UTF-16 unit".into(),
            Kind::Text => "string".into(),
            Kind::Date => "time (RFC 3339, or milliseconds since 1970)".into(),
            Kind::Bytes => "string of base64".into(),
            Kind::Any => "value".into(),
            Kind::List { .. } => "array".into(),
            Kind::Map { .. } | Kind::Class(_) => "object".into(),
        }
    }
}

/// A value whose type nobody told: an integer is an int if it fits, else a long.
fn any(json: Json, depth: u32) -> Result<Value, String> {
    if depth > MAX_DEPTH {
        return Err(format!("more than {MAX_DEPTH} arrays and objects within each other"));
    }
    /// Whole numbers from here on may stand for others than those written.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Whole(number) => i32::try_from(number).map_or(Value::Long(number), Value::Int),
        Json::Number(number) if number.abs() >= EXACT => {
            return Err("a number out of the range of those whose type is not declared".into());
        }
        Json::Number(number) => Value::Double(number),
        Json::String(text) => Value::String(text),
        Json::Array(items) => {
            let items = items.into_iter().map(|item| any(item, depth + 1));
            Value::list(items.collect::<Result<_, _>>()?)
        }
        Json::Object(members) => Value::map(entries(members, depth)?),
    })
}

fn entries(members: Vec<(String, Json)>, depth: u32) -> Result<Vec<(Value, Value)>, String> {
    let entry = |(name, member)| Ok((Value::String(name), any(member, depth + 1)?));
    members.into_iter().map(entry).collect()
}

fn character(text: String) -> Option<Value> {
    (text.encode_utf16().count() == 1).then_some(Value::String(text))
}
