//! Fields of messages from texts: of paths and of queries.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// How many messages within each other a path of names leads through: types that hold themselves have paths of any length.
const MAX_DEPTH: usize = 32;

/// The fields that a path of names with dots leads through; names may be those of JSON. Only the last one may be
/// repeated. `None` if there is no such field, or it is too deep.
pub(super) fn resolve(message: &MessageDescriptor, path: &str) -> Option<Vec<FieldDescriptor>> {
    let mut fields: Vec<FieldDescriptor> = Vec::new();
    let mut message = Some(message.clone());
    for name in path.split('.') {
        if fields.len() == MAX_DEPTH || fields.last().is_some_and(|field| field.is_list() || field.is_map()) {
            return None;
        }
        let within = message?;
        let field = within.get_field_by_name(name).or_else(|| within.get_field_by_json_name(name))?;
        message = field.kind().as_message().cloned();
        fields.push(field);
    }
    Some(fields)
}

/// Sets a field to what a text says, or adds it to one that is repeated. `again` says that a field which is not
/// repeated may have a value already, which is replaced.
pub(super) fn set(
    message: &mut DynamicMessage,
    fields: &[FieldDescriptor],
    text: &str,
    again: bool,
) -> Result<(), String> {
    let Some((field, rest)) = fields.split_first() else { return Ok(()) };
    if let Some(oneof) = field.containing_oneof().filter(|_| !again)
        && oneof.fields().any(|other| other != *field && message.has_field(&other))
    {
        return Err(format!("more than one field of the oneof {}", oneof.name()));
    }
    if !rest.is_empty() {
        return match message.get_field_mut(field) {
            Value::Message(inner) => set(inner, rest, text, again),
            _ => Err("no message".into()),
        };
    }
    if field.is_map() {
        return Err("a map, which no text is".into());
    }
    let value = read(&field.kind(), text)?;
    if field.is_list() {
        if let Some(list) = message.get_field_mut(field).as_list_mut() {
            list.push(value);
        }
    } else {
        message.set_field(field, value);
    }
    Ok(())
}

/// The value that a text is.
fn read(kind: &Kind, text: &str) -> Result<Value, String> {
    let number = |what: &str| format!("no {what}");
    Ok(match kind {
        Kind::Double => Value::F64(float(text).ok_or_else(|| number("number"))?),
        Kind::Float => {
            let wide = float(text).ok_or_else(|| number("number"))?;
            let narrow = wide as f32;
            if wide.is_finite() && narrow.is_infinite() {
                return Err("a number too large for 32 bits".into());
            }
            Value::F32(narrow)
        }
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            Value::I32(text.parse().map_err(|_| number("integer of 32 bits"))?)
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            Value::I64(text.parse().map_err(|_| number("integer of 64 bits"))?)
        }
        Kind::Uint32 | Kind::Fixed32 => Value::U32(text.parse().map_err(|_| number("positive integer of 32 bits"))?),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(text.parse().map_err(|_| number("positive integer of 64 bits"))?),
        Kind::Bool => Value::Bool(match text {
            "true" => true,
            "false" => false,
            _ => return Err("neither true nor false".into()),
        }),
        Kind::String => Value::String(text.into()),
        Kind::Bytes => {
            let alphabet = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
            let bytes = GeneralPurpose::new(alphabet, LENIENT).decode(text).map_err(|_| "no base64")?;
            Value::Bytes(bytes.into())
        }
        Kind::Enum(kind) => {
            let named = kind.get_value_by_name(text).map(|value| value.number());
            let number =
                named.or_else(|| text.parse().ok()).ok_or_else(|| format!("no value of {}", kind.full_name()))?;
            Value::EnumNumber(number)
        }
        Kind::Message(kind) => Value::Message(message(kind, text)?),
    })
}

/// The messages that are one text or number in JSON.
fn message(kind: &MessageDescriptor, text: &str) -> Result<DynamicMessage, String> {
    let name = kind.full_name();
    match name.strip_prefix("google.protobuf.") {
        Some("Timestamp" | "Duration" | "FieldMask") => {
            let json = serde_json::Value::String(text.into());
            DynamicMessage::deserialize(kind.clone(), json).map_err(|_| format!("no {name}"))
        }
        Some(
            "DoubleValue" | "FloatValue" | "Int64Value" | "UInt64Value" | "Int32Value" | "UInt32Value" | "BoolValue"
            | "StringValue" | "BytesValue",
        ) => {
            let field = kind.get_field(1).ok_or("a wrapper of nothing")?;
            let mut message = DynamicMessage::new(kind.clone());
            message.set_field(&field, read(&field.kind(), text)?);
            Ok(message)
        }
        _ => Err(format!("a message ({name}), which no text is: name its fields")),
    }
}

/// Numbers as JSON has them, and the words for what it has no numbers for.
fn float(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok().filter(|number: &f64| number.is_finite()),
    }
}
