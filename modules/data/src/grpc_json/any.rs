//! `google.protobuf.Any`: messages whose type is known when they are read, however deep in each other.

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage, Value};

/// Whether messages of this type can hold a `google.protobuf.Any`.
pub(super) fn holds_any(message: &MessageDescriptor) -> bool {
    let mut seen = vec![message.clone()];
    let mut at = 0;
    while let Some(message) = seen.get(at).cloned() {
        if message.full_name() == ANY {
            return true;
        }
        for field in message.fields() {
            if let Some(inner) = field.kind().as_message()
                && !seen.contains(inner)
            {
                seen.push(inner.clone());
            }
        }
        at += 1;
    }
    false
}

const ANY: &str = "google.protobuf.Any";

/// How many `google.protobuf.Any` may be within each other: each is decoded, and written, within the one around it.
const MAX_ANYS: usize = 4;

/// Whether a message has more than [`MAX_ANYS`] within each other.
pub(super) fn too_deep(pool: &DescriptorPool, message: &DynamicMessage) -> bool {
    deep(pool, message, MAX_ANYS)
}

fn deep(pool: &DescriptorPool, message: &DynamicMessage, left: usize) -> bool {
    fn of_value(pool: &DescriptorPool, value: &Value, left: usize) -> bool {
        match value {
            Value::Message(message) => deep(pool, message, left),
            Value::List(list) => list.iter().any(|value| of_value(pool, value, left)),
            Value::Map(map) => map.values().any(|value| of_value(pool, value, left)),
            _ => false,
        }
    }
    if message.descriptor().full_name() != ANY {
        return message.fields().any(|(_, value)| of_value(pool, value, left));
    }
    let Some(left) = left.checked_sub(1) else { return true };
    let field = |number| message.get_field_by_number(number);
    let (Some(url), Some(bytes)) = (field(1), field(2)) else { return false };
    let name = url.as_str().and_then(|url| url.rsplit('/').next()).unwrap_or_default();
    let Some(kind) = pool.get_message_by_name(name) else { return false };
    let bytes = bytes.as_bytes().cloned().unwrap_or_default();
    DynamicMessage::decode(kind, bytes).is_ok_and(|inner| deep(pool, &inner, left))
}
