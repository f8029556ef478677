//! Calls.

use http::{Method, StatusCode};
use ringway_api::{Body, Chunk, InvalidField, Known, Request, RequestHead, Version, rpc};
use ringway_hessian2::{Error, Reader, Value, Writer};

use super::wrapper::{RequestWrapper, frame};
use super::{DubboToTripleConfig, Fault, SerializeType, attachments};

/// What calls are called that nobody has read.
const UNREAD: &[u8] = b"/-/-";

/// The version that services have which were given none.
const NO_VERSION: &[u8] = b"0.0.0";

/// How many parameters a method of Java has at most ("Limitations" of the JVM's specification).
const MAX_ARGUMENTS: usize = 255;

const MALFORMED: Fault = bad("the call cannot be read");

pub(super) const fn bad(what: &'static str) -> Fault {
    Fault(StatusCode::BAD_REQUEST, what)
}

/// Makes a request a call of Triple. Says whether the caller reads attachments of results.
pub(super) fn translate(
    rules: &DubboToTripleConfig,
    content: &[u8],
    whole: bool,
    request: &mut Request,
) -> Result<bool, Fault> {
    if request.head.path() == UNREAD {
        return Err(bad("the call is not in hessian2, which Triple's wrapper needs"));
    }
    let mut reader = Reader::new(content, 0);
    // The version of the protocol, path, version, method; the last three are in the head.
    let protocol = text(&mut reader)?;
    for _ in 0..3 {
        text(&mut reader)?;
    }
    let arg_types = java_names(&text(&mut reader)?).ok_or(MALFORMED)?;
    let args = arguments(content, &mut reader, arg_types.len())?;
    let read = attachments::read(content, reader)?;
    let serialize_type = match rules.serialize_type {
        SerializeType::Hessian4 => "hessian4",
        SerializeType::Hessian2 => "hessian2",
    };
    let wrapper = RequestWrapper { serialize_type: serialize_type.into(), args, arg_types };
    let framed = frame(&wrapper).ok_or(super::TOO_LARGE)?;
    attachments::to_fields(read, whole, &mut request.head)?;
    become_triple(rules, &mut request.head).map_err(|_| bad("the call has a name that a header cannot have"))?;
    request.body = Body::Full(Chunk::from(framed));
    Ok(reads_attachments(&protocol))
}

/// The bytes of each argument.
///
/// Classes, types and values are numbered from the first argument on. So what refers to them can be cut out only while
/// nothing has been numbered; from then on it is written anew, and what it shares with others is copied.
fn arguments(content: &[u8], reader: &mut Reader<'_>, count: usize) -> Result<Vec<Vec<u8>>, Fault> {
    let unreadable = |error| match error {
        Error::TooLarge | Error::TooDeep => bad("an argument is too large to be taken apart"),
        Error::UnknownReference | Error::CyclicReference => {
            bad("an argument refers to itself, or to what is not there")
        }
        _ => MALFORMED,
    };
    let mut numbered = false;
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let begin = reader.position();
        let plain = is_plain(reader.peek().map_err(unreadable)?);
        if plain || !numbered {
            reader.skip().map_err(unreadable)?;
            all.push(content.get(begin..reader.position()).unwrap_or_default().to_vec());
        } else {
            let value = reader.value().map_err(unreadable)?;
            let mut out = Vec::new();
            Writer::new(&mut out).value(&value);
            all.push(out);
        }
        numbered |= !plain;
    }
    Ok(all)
}

/// Whether a value with this tag neither has a number nor holds any: texts, bytes, numbers, times and the like.
fn is_plain(tag: u8) -> bool {
    matches!(
        tag,
        0x00..=0x3f | 0x80..=0xff | 0x4a | 0x4b | 0x5b..=0x5f
            | b'A' | b'B' | b'D' | b'F' | b'I' | b'L' | b'N' | b'R' | b'S' | b'T' | b'Y'
    )
}

/// A text, or none for null.
fn text(reader: &mut Reader<'_>) -> Result<String, Fault> {
    match reader.value() {
        Ok(Value::String(text)) => Ok(text),
        Ok(Value::Null) => Ok(String::new()),
        _ => Err(MALFORMED),
    }
}

/// The types of arguments, which are descriptors of the JVM, as `Class.getName` of Java has them.
fn java_names(descriptors: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = descriptors;
    while !rest.is_empty() && names.len() < MAX_ARGUMENTS {
        let dimensions = rest.len() - rest.trim_start_matches('[').len();
        let element = rest.get(dimensions..)?;
        let len = match element.chars().next()? {
            'L' => element.find(';')? + 1,
            'Z' | 'B' | 'C' | 'D' | 'F' | 'I' | 'J' | 'S' => 1,
            _ => return None,
        };
        let (one, after) = rest.split_at_checked(dimensions + len)?;
        names.push(match one {
            "Z" => "boolean".into(),
            "B" => "byte".into(),
            "C" => "char".into(),
            "D" => "double".into(),
            "F" => "float".into(),
            "I" => "int".into(),
            "J" => "long".into(),
            "S" => "short".into(),
            class => match class.strip_prefix('L').and_then(|class| class.strip_suffix(';')) {
                Some(class) => class.replace('/', "."),
                None => class.replace('/', "."),
            },
        });
        rest = after;
    }
    rest.is_empty().then_some(names)
}

fn become_triple(rules: &DubboToTripleConfig, head: &mut RequestHead) -> Result<(), InvalidField> {
    let path = head.path().strip_prefix(b"/").unwrap_or_default();
    let service = memchr::memrchr(b'/', path).and_then(|at| path.get(..at)).unwrap_or_default();
    let service = String::from_utf8_lossy(service).into_owned();
    head.set_authority(rules.authority.as_deref().unwrap_or(&service))?;
    head.method = Method::POST;
    // Its deadline, its replies and its counters are gRPC's from here on.
    head.version = Version::Http2;
    for (from, to) in [(rpc::VERSION, "tri-service-version"), (rpc::GROUP, "tri-service-group")] {
        let value = head.headers.first(from).filter(|value| !value.is_empty() && *value != NO_VERSION);
        let value = value.map(<[u8]>::to_vec);
        head.headers.remove(from);
        head.headers.remove(to);
        if let Some(value) = value {
            head.headers.append(to, &value)?;
        }
    }
    let caller = head.headers.first("remote.application").or(rules.app_name.as_deref().map(str::as_bytes));
    if let Some(caller) = caller.map(<[u8]>::to_vec) {
        head.headers.remove("remote.application");
        head.headers.set("tri-consumer-appname", &caller)?;
    }
    if let Some(timeout) = head.timeout {
        // At most eight digits ("gRPC over HTTP2").
        let timeout = match timeout.as_millis() {
            millis @ 0..=99_999_999 => format!("{millis}m"),
            millis => format!("{}S", (millis / 1000).min(99_999_999)),
        };
        head.headers.set("grpc-timeout", timeout.as_bytes())?;
    }
    head.headers.remove_known(Known::ContentLength);
    head.headers.set_known(Known::ContentType, b"application/grpc+proto")?;
    head.headers.set_known(Known::Te, b"trailers")
}

/// Whether a caller that speaks this version of the protocol reads attachments of results. Before 2.0.2 they are
/// unknown, and what lies beyond is the version of a library that spoke it.
fn reads_attachments(protocol: &str) -> bool {
    matches!(protocol.as_bytes(), [b'2', b'.', b'0', b'.', b'2'..=b'9'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_types_as_java_allows() {
        assert_eq!(java_names(&"I".repeat(255)).unwrap().len(), 255);
        assert_eq!(java_names(&"I".repeat(256)), None);
    }

    #[test]
    fn types_have_their_names_in_java() {
        for (descriptors, names) in [
            ("", Some(vec![])),
            ("I[JLjava/lang/String;", Some(vec!["int", "[J", "java.lang.String"])),
            ("[[Lcom/x/Y$Z;Z", Some(vec!["[[Lcom.x.Y$Z;", "boolean"])),
            ("V", None),
            ("[", None),
            ("Ljava/lang/String", None),
            ("é", None),
        ] {
            let found = java_names(descriptors);
            assert_eq!(found, names.map(|names| names.into_iter().map(String::from).collect()), "{descriptors}");
        }
    }
}
