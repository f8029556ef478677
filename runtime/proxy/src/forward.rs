//! What a proxy adds to the messages it forwards (RFC 9110, section 7.6).

use std::fmt::{self, Write};
use std::net::IpAddr;

use ringway_api::{Address, Headers, Known, RequestHead, TlsInfo, Version};

use crate::client_cert::ClientCert;

/// How messages are marked on their way. Defaults are Envoy's, but for the server's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardPolicy {
    /// Append the peer's address to `X-Forwarded-For`.
    pub forwarded_for: bool,
    /// Set `X-Forwarded-Proto` when it is missing.
    pub forwarded_proto: bool,
    /// What to do about `x-request-id`.
    pub request_id: RequestId,
    /// The pseudonym to add to `Via` both ways (RFC 9110, section 7.6.3); none leaves it alone.
    pub via: Option<Box<str>>,
    /// What to do about `Server`.
    pub server: ServerHeader,
    /// What to do about `X-Forwarded-Client-Cert`.
    pub client_cert: ClientCert,
}

/// What to do about `x-request-id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestId {
    /// Pass on what is there, add nothing.
    Keep,
    /// Pass on what is there, make one where it is missing.
    Generate,
    /// Always make one.
    Replace,
}

/// What to do about a response's `Server` field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerHeader {
    /// Replace it by this.
    Overwrite(Box<str>),
    /// Add this when it is missing.
    AppendIfAbsent(Box<str>),
    /// Leave it alone.
    PassThrough,
}

impl Default for ForwardPolicy {
    fn default() -> Self {
        Self {
            forwarded_for: true,
            forwarded_proto: true,
            request_id: RequestId::Generate,
            via: None,
            server: ServerHeader::Overwrite("ringway".into()),
            client_cert: ClientCert::default(),
        }
    }
}

impl ForwardPolicy {
    /// Marks a request that came from `peer`; `random` makes an id.
    pub(crate) fn mark_request(
        &self,
        head: &mut RequestHead,
        peer: &Address,
        tls: Option<&TlsInfo>,
        random: impl Fn() -> u64,
    ) {
        let headers = &mut head.headers;
        self.client_cert.mark(headers, tls);
        if let Some(peer) = peer.ip().filter(|_| self.forwarded_for) {
            append_list(headers, Known::XForwardedFor, IpText::of(peer.ip()).as_str());
        }
        if self.forwarded_proto && !headers.has(Known::XForwardedProto) {
            put(headers, Known::XForwardedProto, head.scheme.as_str());
        }
        let wanted = match self.request_id {
            RequestId::Keep => false,
            RequestId::Generate => !headers.has(Known::XRequestId),
            RequestId::Replace => {
                headers.remove_known(Known::XRequestId);
                true
            }
        };
        if wanted {
            let id = uuid4(random(), random());
            put(headers, Known::XRequestId, std::str::from_utf8(&id).unwrap_or_default());
        }
        self.mark_via(headers, head.version);
    }

    /// Marks a response that arrived in `version`.
    pub(crate) fn mark_response(&self, headers: &mut Headers, version: Version) {
        match &self.server {
            ServerHeader::PassThrough => {}
            ServerHeader::AppendIfAbsent(_) if headers.has(Known::Server) => {}
            ServerHeader::AppendIfAbsent(name) => put(headers, Known::Server, name),
            ServerHeader::Overwrite(name) => {
                headers.remove_known(Known::Server);
                put(headers, Known::Server, name);
            }
        }
        self.mark_via(headers, version);
    }

    /// Marks a reply made here.
    pub(crate) fn mark_local(&self, headers: &mut Headers) {
        if let ServerHeader::Overwrite(name) | ServerHeader::AppendIfAbsent(name) = &self.server {
            put(headers, Known::Server, name);
        }
    }

    fn mark_via(&self, headers: &mut Headers, version: Version) {
        let Some(pseudonym) = &self.via else { return };
        let received = match version {
            Version::Http10 => "1.0",
            Version::Http11 => "1.1",
            Version::Http2 => "2.0",
            Version::Rpc(name) => name,
        };
        let mut via = String::with_capacity(received.len() + 1 + pseudonym.len());
        via.extend([received, " ", pseudonym]);
        append_list(headers, Known::Via, &via);
    }
}

/// An IP address as text, made anew for each request: kept, it would cost every idle connection more than this takes.
struct IpText {
    bytes: [u8; 48],
    len: usize,
}

impl IpText {
    fn of(ip: IpAddr) -> Self {
        let mut text = Self { bytes: [0; 48], len: 0 };
        // IPv4 by hand: the formatter of the library takes several times as long.
        match ip {
            IpAddr::V4(ip) => {
                for (at, octet) in ip.octets().into_iter().enumerate() {
                    if at > 0 {
                        text.push(b'.');
                    }
                    if octet >= 100 {
                        text.push(b'0' + octet / 100);
                    }
                    if octet >= 10 {
                        text.push(b'0' + octet / 10 % 10);
                    }
                    text.push(b'0' + octet % 10);
                }
            }
            IpAddr::V6(ip) => {
                let written = write!(text, "{ip}");
                debug_assert!(written.is_ok(), "addresses are shorter");
            }
        }
        text
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    fn as_str(&self) -> &str {
        self.bytes.get(..self.len).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }
}

impl Write for IpText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.push(byte));
        Ok(())
    }
}

/// Adds a member to a list field, in one line with what was there, so that no recipient can see them in another order.
fn append_list(headers: &mut Headers, name: Known, member: &str) {
    if !headers.has(name) {
        return put(headers, name, member);
    }
    let mut list = Vec::new();
    for value in headers.all_known(name).chain([member.as_bytes()]).filter(|value| !value.is_empty()) {
        if !list.is_empty() {
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(value);
    }
    let set = headers.set_known(name, &list);
    debug_assert!(set.is_ok(), "values that were received are valid");
}

fn put(headers: &mut Headers, name: Known, value: &str) {
    let put = headers.append_known(name, value.as_bytes());
    debug_assert!(put.is_ok(), "{name:?}: {value:?}");
}

/// A random UUID (RFC 9562, section 5.4).
fn uuid4(high: u64, low: u64) -> [u8; 36] {
    let high = (high & !0xf000) | 0x4000;
    let low = (low & !(3 << 62)) | (2 << 62);
    let mut text = [b'-'; 36];
    let bits = u128::from(high) << 64 | u128::from(low);
    let places = (0..36).filter(|at| !matches!(at, 8 | 13 | 18 | 23));
    for (nibble, at) in places.enumerate() {
        let digit = (bits >> (124 - 4 * nibble)) as usize & 0xf;
        if let (Some(place), Some(hex)) = (text.get_mut(at), b"0123456789abcdef".get(digit)) {
            *place = *hex;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_of_version_4() {
        let text = uuid4(u64::MAX, 0);
        assert_eq!(std::str::from_utf8(&text), Ok("ffffffff-ffff-4fff-8000-000000000000"));
    }

    #[test]
    fn a_forwarded_request_names_its_peer_once() {
        let mut head = RequestHead::new(http::Method::GET, "a", "/");
        head.headers.append("x-forwarded-for", b"10.0.0.1").unwrap();
        head.headers.append("X-Forwarded-For", b"10.0.0.2").unwrap();
        let policy = ForwardPolicy { via: Some("edge".into()), ..ForwardPolicy::default() };
        let peer = Address::Ip("10.0.0.3:1".parse().unwrap());
        policy.mark_request(&mut head, &peer, None, || 1);
        let headers = &head.headers;
        assert_eq!(headers.all_known(Known::XForwardedFor).collect::<Vec<_>>(), [b"10.0.0.1, 10.0.0.2, 10.0.0.3"]);
        assert_eq!(headers.known(Known::XForwardedProto), Some(&b"http"[..]));
        assert_eq!(headers.known(Known::Via), Some(&b"1.1 edge"[..]));
        let id = headers.known(Known::XRequestId).unwrap().to_vec();
        policy.mark_request(&mut head, &peer, None, || 2);
        let headers = &head.headers;
        assert_eq!(headers.known(Known::XRequestId), Some(&id[..]), "an id that is there stays");
    }

    #[test]
    fn addresses_read_as_the_library_writes_them() {
        for text in ["0.0.0.0", "1.20.255.100", "255.9.10.99", "::1", "2001:db8::ffff:1234:5678:9abc", "::ffff:1.2.3.4"]
        {
            assert_eq!(IpText::of(text.parse().unwrap()).as_str(), text);
        }
    }

    #[test]
    fn the_server_field_follows_its_policy() {
        for (policy, expected) in [
            (ServerHeader::PassThrough, "theirs"),
            (ServerHeader::AppendIfAbsent("ours".into()), "theirs"),
            (ServerHeader::Overwrite("ours".into()), "ours"),
        ] {
            let mut headers = Headers::new();
            headers.append("server", b"theirs").unwrap();
            let policy = ForwardPolicy { server: policy, ..ForwardPolicy::default() };
            policy.mark_response(&mut headers, Version::Http11);
            assert_eq!(headers.all_known(Known::Server).collect::<Vec<_>>(), [expected.as_bytes()]);
        }
    }
}
