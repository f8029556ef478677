//! The result of a call as JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use ringway_hessian2::{Error, Reader, Value};
use serde_json::json;

use super::date;
use super::fault::Fault;

/// What the kinds of results say, without attachments and with them: an exception, a value, null (Dubbo's
/// `RESPONSE_WITH_EXCEPTION` and its like).
const WITH_EXCEPTION: [i32; 2] = [0, 3];
const WITH_VALUE: [i32; 2] = [1, 4];
const WITH_NULL: [i32; 2] = [2, 5];

/// Where exceptions have their class and their message, if a generic call's are wrapped.
const WRAPPED: &str = "exceptionClass";
const MESSAGES: [&str; 3] = ["detailMessage", "exceptionMessage", "message"];

/// A document and the status it goes out with.
pub(super) type Answer = (StatusCode, Vec<u8>);

/// The content of a response with Dubbo's status 20.
pub(super) fn answer(content: &[u8]) -> Result<Answer, Fault> {
    let mut reader = Reader::new(content, 0);
    match reader.value().map_err(unreadable)? {
        Value::Int(kind) if WITH_NULL.contains(&kind) => Ok((StatusCode::OK, b"null".to_vec())),
        Value::Int(kind) if WITH_VALUE.contains(&kind) => {
            let value = reader.value().map_err(unreadable)?;
            let mut document = Vec::new();
            write(&value, &mut document).map_err(|what| {
                Fault::new(StatusCode::BAD_GATEWAY, format!("the result has {what}, which JSON cannot say"))
            })?;
            Ok((StatusCode::OK, document))
        }
        Value::Int(kind) if WITH_EXCEPTION.contains(&kind) => {
            let document = exception(&mut reader).map_err(unreadable)?;
            Ok((StatusCode::INTERNAL_SERVER_ERROR, document.to_string().into()))
        }
        _ => Err(Fault::new(StatusCode::BAD_GATEWAY, "the result is of no kind that Dubbo has")),
    }
}

/// The content of a response with another status: what went wrong, in words.
pub(super) fn error(content: &[u8], status: i64) -> Vec<u8> {
    let message = match Reader::new(content, 0).value() {
        Ok(Value::String(message)) => message,
        _ => "the host says no more than its status".into(),
    };
    json!({ "error": message, "dubbo_status": status }).to_string().into()
}

fn unreadable(error: Error) -> Fault {
    Fault::new(StatusCode::BAD_GATEWAY, format!("the result cannot be read: {error}"))
}

/// An exception: its class and its message. It refers to itself as its cause as a rule, so that only fields of interest
/// are read.
fn exception(reader: &mut Reader<'_>) -> Result<serde_json::Value, Error> {
    let Some(class) = reader.object()? else {
        return Ok(match reader.value()? {
            Value::String(message) => json!({ "exception": null, "message": message }),
            Value::Map { type_name, entries } => {
                let named = |(key, value)| match (key, value) {
                    (Value::String(key), Value::String(value)) => Some((key, value)),
                    _ => None,
                };
                told(type_name.as_deref(), entries.into_iter().filter_map(named).collect())
            }
            _ => json!({ "exception": null, "message": null }),
        });
    };
    let mut texts = Vec::new();
    for field in &class.fields {
        if field == WRAPPED || MESSAGES.contains(&field.as_str()) {
            if let Value::String(text) = reader.value()? {
                texts.push((field.clone(), text));
            }
        } else {
            reader.skip()?;
        }
    }
    Ok(told(Some(&class.name), texts))
}

fn told(class: Option<&str>, texts: Vec<(String, String)>) -> serde_json::Value {
    let find = |name: &str| texts.iter().find(|(key, _)| key == name).map(|(_, text)| text.as_str());
    let message = MESSAGES.into_iter().find_map(find);
    json!({ "exception": find(WRAPPED).or(class), "message": message })
}

/// Writes a value; the error names what JSON has no words for.
fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), &'static str> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Long(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Double(number) => match serde_json::Number::from_f64(*number) {
            Some(number) => out.extend_from_slice(number.to_string().as_bytes()),
            None => return Err("a number that is not finite"),
        },
        Value::Date(millis) => text(&date::format(*millis).ok_or("a time beyond the years 0 to 9999")?, out),
        Value::Binary(bytes) => text(&STANDARD.encode(bytes), out),
        Value::String(string) => text(string, out),
        Value::List { items, .. } => {
            out.push(b'[');
            separated(items, out, write)?;
            out.push(b']');
        }
        Value::Map { entries, .. } => {
            out.push(b'{');
            separated(entries, out, |(key, value), out| {
                match key {
                    Value::String(name) => text(name, out),
                    Value::Bool(name) => text(&name.to_string(), out),
                    Value::Int(name) => text(&name.to_string(), out),
                    Value::Long(name) => text(&name.to_string(), out),
                    _ => return Err("a map whose keys are no texts, integers or booleans"),
                }
                out.push(b':');
                write(value, out)
            })?;
            out.push(b'}');
        }
        Value::Object { class, fields } => {
            out.push(b'{');
            separated(class.fields.iter().zip(fields), out, |(name, value), out| {
                text(name, out);
                out.push(b':');
                write(value, out)
            })?;
            out.push(b'}');
        }
    }
    Ok(())
}

fn separated<T>(
    items: impl IntoIterator<Item = T>,
    out: &mut Vec<u8>,
    each: impl Fn(T, &mut Vec<u8>) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        each(item, out)?;
    }
    Ok(())
}

fn text(text: &str, out: &mut Vec<u8>) {
    let written = serde_json::to_writer(out, text);
    debug_assert!(written.is_ok(), "texts can be written, and memory takes them");
}
