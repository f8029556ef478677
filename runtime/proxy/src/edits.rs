//! What a route changes in the fields of requests and responses.

use std::time::SystemTime;

use ringway_api::{Address, Headers, RequestHead, ResponseHead, StreamCx};
use ringway_config::{Edit, Route, Value, raw::Append};
use ringway_telemetry::{Captured, Format, StreamRecord};

/// What values may be made of besides the message itself.
pub(crate) struct Facts<'a> {
    pub(crate) cx: &'a StreamCx,
    pub(crate) route: &'a Route,
    /// Which of a weighted route's clusters it is.
    pub(crate) weighted: Option<u16>,
    pub(crate) cluster: Option<&'a str>,
    pub(crate) host: Option<&'a Address>,
}

/// Changes the fields of a request.
pub(crate) fn request(facts: &Facts<'_>, head: &mut RequestHead) {
    for edits in facts.route.edits(facts.weighted) {
        for edit in &edits.request {
            let value = added(edit, |format| {
                let mut record = facts.record();
                let fields = capture(format, head);
                of_request(&mut record, head, &fields);
                render(format, &record)
            });
            apply(edit, value, &mut head.headers);
        }
    }
}

/// Changes the fields of a response.
pub(crate) fn response(facts: &Facts<'_>, asked: Option<&RequestHead>, head: &mut ResponseHead) {
    for edits in facts.route.edits(facts.weighted) {
        for edit in &edits.response {
            let value = added(edit, |format| {
                let mut record = facts.record();
                let fields = asked.map_or_else(Captured::default, |asked| capture(format, asked));
                if let Some(asked) = asked {
                    of_request(&mut record, asked, &fields);
                }
                let find = |name: &http::HeaderName| head.headers.first(name.as_str());
                let answered = Captured::capture(&format.needs().response_headers, find);
                record.response_headers = &answered;
                record.response_code = Some(head.status.as_u16());
                render(format, &record)
            });
            apply(edit, value, &mut head.headers);
        }
    }
}

/// Whether a route's changes to responses need to know the request.
pub(crate) fn response_needs_request(route: &Route, weighted: Option<u16>) -> bool {
    let made = |edit: &Edit| matches!(edit, Edit::Add { value: Value::Template(_), .. });
    route.edits(weighted).any(|edits| edits.response.iter().any(made))
}

/// The value that an edit adds, if it adds one.
fn added(edit: &Edit, render: impl FnOnce(&Format) -> Vec<u8>) -> Option<Vec<u8>> {
    let Edit::Add { value, keep_empty, .. } = edit else { return None };
    let value = match value {
        Value::Literal(text) => text.as_bytes().to_vec(),
        Value::Template(template) => render(template.0.downcast_ref::<Format>()?),
    };
    (*keep_empty || !value.is_empty()).then_some(value)
}

fn apply(edit: &Edit, value: Option<Vec<u8>>, headers: &mut Headers) {
    match (edit, value) {
        (Edit::Remove(name), _) => headers.remove(name),
        (Edit::Add { name, append, .. }, Some(value)) => {
            let there = headers.first(name).is_some();
            let _invalid_is_left_out = match append {
                Append::AppendIfExistsOrAdd => headers.append(name, &value),
                Append::AddIfAbsent if there => Ok(()),
                Append::AddIfAbsent => headers.append(name, &value),
                Append::OverwriteIfExists if !there => Ok(()),
                Append::OverwriteIfExists | Append::OverwriteIfExistsOrAdd => headers.set(name, &value),
            };
        }
        (Edit::Add { .. }, None) => {}
    }
}

impl Facts<'_> {
    fn record(&self) -> StreamRecord<'_> {
        let info = &self.cx.conn.info;
        let mut record = StreamRecord::new(SystemTime::UNIX_EPOCH);
        record.start = self.cx.conn.env.wall();
        record.scheme = Some(info.scheme().as_str());
        record.downstream_remote = Some(&info.peer);
        record.downstream_direct_remote = Some(info.direct_peer.as_deref().unwrap_or(&info.peer));
        record.downstream_local = Some(&*info.local);
        record.connection_id = Some(info.id);
        record.tls = info.tls.as_deref();
        record.requested_server_name = info.server_name();
        record.route_name = self.route.name.as_deref();
        record.upstream_cluster = self.cluster;
        record.upstream_host = self.host;
        record
    }
}

fn capture(format: &Format, head: &RequestHead) -> Captured {
    Captured::capture(&format.needs().request_headers, |name| head.headers.first(name.as_str()))
}

fn of_request<'a>(record: &mut StreamRecord<'a>, head: &'a RequestHead, fields: &'a Captured) {
    record.method = Some(head.method.as_str());
    record.path = Some(head.path_and_query());
    record.authority = Some(head.authority()).filter(|text| !text.is_empty());
    record.protocol = Some(head.version);
    record.request_headers = fields;
}

fn render(format: &Format, record: &StreamRecord<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    format.render(record, &mut text);
    text
}
