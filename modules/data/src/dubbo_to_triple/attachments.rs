//! Attachments of calls as header fields, and fields as attachments of results.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringway_api::{Headers, RequestHead};
use ringway_hessian2::{Reader, Value, Writer};

use super::Fault;
use super::call::bad;

/// What Dubbo says of a call itself, and Triple elsewhere.
const OWN: [&str; 5] = ["path", "interface", "timeout", "dubbo", "input"];

/// What HTTP and gRPC say of a response, and Dubbo elsewhere or not at all.
const OF_HTTP: [&str; 9] =
    ["content-type", "content-length", "date", "server", "via", "trailer", "te", "vary", "user-agent"];
const OF_GRPC: [&str; 4] = ["grpc-", "tri-", "x-envoy-", "rpc-"];

/// The attachments at the end of a call.
pub(super) fn read(content: &[u8], mut reader: Reader<'_>) -> Result<Vec<(String, Value)>, Fault> {
    const MALFORMED: Fault = bad("the attachments of the call cannot be read");
    // Very old clients have none.
    if reader.position() == content.len() {
        return Ok(Vec::new());
    }
    let entries = match reader.value() {
        Ok(Value::Map { entries, .. }) => entries,
        Ok(Value::Null) => return Ok(Vec::new()),
        _ => return Err(MALFORMED),
    };
    let named = |(name, value)| match name {
        Value::String(name) => Ok((name, value)),
        _ => Err(MALFORMED),
    };
    entries.into_iter().map(named).collect()
}

/// Makes attachments fields. `whole`: those that are texts are fields already, as filters have left them.
pub(super) fn to_fields(read: Vec<(String, Value)>, whole: bool, head: &mut RequestHead) -> Result<(), Fault> {
    for (mut name, value) in read {
        let value = match value {
            Value::Null => continue,
            // Numbers and the like are texts to Triple.
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Long(value) => value.to_string(),
            Value::Double(value) => value.to_string(),
            Value::Binary(value) => {
                name.push_str("-bin");
                STANDARD.encode(value)
            }
            Value::String(value) => {
                if Headers::can_hold(name.as_bytes(), value.as_bytes()) && whole {
                    continue;
                }
                value
            }
            _ => return Err(bad("the call has an attachment that is no text, which a header cannot say")),
        };
        if name == "timeout" && head.timeout.is_none() {
            head.timeout = value.parse().ok().filter(|millis| *millis > 0).map(Duration::from_millis);
        }
        if OWN.contains(&name.as_str()) {
            continue;
        }
        if !Headers::can_hold(name.as_bytes(), value.as_bytes()) {
            return Err(bad("the call has an attachment that no header field can be"));
        }
        head.headers
            .set(&name, value.as_bytes())
            .map_err(|_| bad("the call has an attachment that no field can be"))?;
    }
    // What attachments call so would mean something else to gRPC.
    head.headers.retain(|_, name, _| {
        let own = OWN.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()));
        !own && !starts_with(name, "grpc-")
    });
    Ok(())
}

/// Writes the fields of a response, and of its trailers, that are no business of HTTP's or gRPC's.
pub(super) fn write(fields: [Option<&Headers>; 2], writer: &mut Writer<'_>) {
    writer.map(None);
    for (name, value) in fields.into_iter().flatten().flat_map(Headers::iter) {
        let own = OF_HTTP.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()));
        if own || OF_GRPC.iter().any(|prefix| starts_with(name, prefix)) {
            continue;
        }
        writer.string(&String::from_utf8_lossy(name));
        writer.string(&String::from_utf8_lossy(value));
    }
    writer.end();
}

fn starts_with(name: &[u8], prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}
