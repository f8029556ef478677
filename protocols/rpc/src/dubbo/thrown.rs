//! What a service threw, as far as the beginning of its answer tells.

use ringway_hessian2::{Reader, Text, Value, decode};

use crate::{EXCEPTION_CLASS, EXCEPTION_MESSAGE, EXCEPTION_STACK, Fields};

/// Bytes of an answer that are looked at for what was thrown; what is behind is not told.
pub(super) const LOOK: usize = 16 << 10;
/// Bytes that are told of a message and of a stack.
const TEXT: usize = 1 << 10;
/// Frames of a stack that are told.
const FRAMES: usize = 8;

/// Tells what the object at this place is: the class, the message, the innermost frames. It refers to itself as its
/// cause as a rule, so that it is read field by field.
pub(super) fn tell(block: &[u8], at: usize, fields: &mut Fields<'_>) {
    let mut reader = Reader::skipping(block, at);
    let Ok(Some(class)) = reader.object() else { return };
    let mut name = class.name.clone();
    for field in &class.fields {
        let read = match field.as_str() {
            "detailMessage" | "exceptionMessage" => text(&mut reader, block).map(|text| {
                if let Some(text) = text {
                    fields.derived(EXCEPTION_MESSAGE, line(&text).as_bytes());
                }
            }),
            // Of a generic call's exception, what it wraps.
            "exceptionClass" => text(&mut reader, block).map(|text| name = text.unwrap_or_default()),
            "stackTrace" => reader.value().ok().map(|stack| {
                fields.derived(EXCEPTION_STACK, line(&frames(&stack)).as_bytes());
            }),
            _ => reader.skip().ok(),
        };
        // Truncated, most likely: what is known is told.
        if read.is_none() {
            break;
        }
    }
    fields.derived(EXCEPTION_CLASS, line(&name).as_bytes());
}

/// A string, or nothing where there is none in one piece.
fn text(reader: &mut Reader<'_>, block: &[u8]) -> Option<Option<String>> {
    match reader.text().ok()? {
        Some(Text::Plain(range)) => Some(decode(block.get(range)?).ok().map(std::borrow::Cow::into_owned)),
        Some(Text::Null | Text::Chunked) => Some(None),
        None => reader.skip().ok().map(|()| None),
    }
}

fn frames(stack: &Value) -> String {
    let Value::List { items, .. } = stack else { return String::new() };
    let frame = |item: &Value| {
        let Value::Object { class, fields } = item else { return None };
        let part = |wanted: &str| {
            let at = class.fields.iter().position(|field| field == wanted)?;
            match fields.get(at)? {
                Value::String(text) => Some(text.clone()),
                Value::Int(number) => Some(number.to_string()),
                _ => None,
            }
        };
        let place = part("fileName").unwrap_or_else(|| "-".into());
        let number = part("lineNumber").unwrap_or_default();
        Some(format!("{}.{}({place}:{number})", part("declaringClass")?, part("methodName")?))
    };
    items.iter().take(FRAMES).filter_map(frame).collect::<Vec<_>>().join(" < ")
}

/// What can stand in a field: no control characters, and not too much.
fn line(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars() {
        if line.len() + c.len_utf8() > TEXT {
            break;
        }
        line.push(if c.is_control() { ' ' } else { c });
    }
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use ringway_api::Headers;
    use ringway_hessian2::{Class, Writer};

    use super::*;
    use crate::dubbo::Dubbo;

    fn told(bytes: &[u8]) -> [Option<String>; 3] {
        let mut headers = Headers::new();
        tell(bytes, 0, &mut Fields::of::<Dubbo>(&mut headers));
        [EXCEPTION_CLASS, EXCEPTION_MESSAGE, EXCEPTION_STACK]
            .map(|name| headers.first(name).map(|value| String::from_utf8_lossy(value).into_owned()))
    }

    fn exception() -> Vec<u8> {
        let strings = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let class =
            |name: &str, fields: &[&str]| std::sync::Arc::new(Class { name: name.to_owned(), fields: strings(fields) });
        let element = class("java.lang.StackTraceElement", &["declaringClass", "methodName", "fileName", "lineNumber"]);
        let frame = |method: &str| Value::Object {
            class: element.clone(),
            fields: vec![
                Value::String("com.x.Shop".into()),
                Value::String(method.into()),
                Value::String("Shop.java".into()),
                Value::Int(7),
            ],
        };
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.object(&class("com.x.Away", &["code", "detailMessage", "stackTrace", "cause"]));
        writer.int(5);
        writer.string("away\r\nfor good");
        writer.value(&Value::list(vec![frame("buy"), frame("main")]));
        writer.null();
        bytes
    }

    #[test]
    fn class_message_and_stack_are_told() {
        assert_eq!(
            told(&exception()),
            [
                Some("com.x.Away".into()),
                Some("away  for good".into()),
                Some("com.x.Shop.buy(Shop.java:7) < com.x.Shop.main(Shop.java:7)".into())
            ]
        );
    }

    #[test]
    fn what_is_cut_off_tells_what_is_there() {
        let whole = exception();
        for len in 0..whole.len() {
            let [class, message, _] = told(&whole[..len]);
            assert!(message.is_none() || class.is_some(), "{len}");
        }
        assert_eq!(told(b"\x02hi"), [None, None, None], "no object");
    }
}
