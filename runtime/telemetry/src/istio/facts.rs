//! What tells the streams of one series from those of another.

use ringway_api::{ResponseFlags, Version};

use super::mesh::Reporter;
use crate::{LogType, StreamRecord};

/// What is known of a stream and makes its labels. Borrowed from the stream, so that finding its series takes no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Facts<'a> {
    pub(super) reporter: Reporter,
    /// Bytes rather than requests.
    pub(super) tcp: bool,
    pub(super) cluster: &'a str,
    /// The authority, where it names the service; without its port.
    pub(super) authority: &'a str,
    /// The identity of the other side.
    pub(super) peer: &'a str,
    /// The other side has shown a certificate.
    pub(super) mutual_tls: bool,
    pub(super) protocol: &'static str,
    /// 0 without a response.
    pub(super) code: u16,
    pub(super) grpc_status: Option<u32>,
    pub(super) flags: ResponseFlags,
}

/// [`Facts`] that outlive their stream.
#[derive(Clone, Debug)]
pub(super) struct OwnFacts {
    scalars: Facts<'static>,
    cluster: Box<str>,
    authority: Box<str>,
    peer: Box<str>,
}

/// Bytes of an authority that counts: a name of DNS has no more (RFC 1035, section 2.3.4).
const AUTHORITY: usize = 255;

impl<'a> Facts<'a> {
    /// Those of a stream. `by_authority` says whether the authority counts for its cluster.
    pub(super) fn of(reporter: Reporter, record: &StreamRecord<'a>, by_authority: impl Fn(&str) -> bool) -> Self {
        let tcp = record.kind != LogType::DownstreamEnd;
        let cluster = record.upstream_cluster.unwrap_or_default();
        let tls = match reporter {
            Reporter::Source => record.upstream_tls,
            Reporter::Destination => record.tls,
        };
        let peer = tls.and_then(|tls| tls.peer.as_deref());
        let authority = record.authority.filter(|_| by_authority(cluster));
        Self {
            reporter,
            tcp,
            cluster,
            authority: authority.and_then(host_of).unwrap_or_default(),
            peer: peer.and_then(|peer| peer.uri_sans.first()).map_or("", |san| san),
            mutual_tls: peer.is_some(),
            protocol: match record.protocol {
                _ if tcp => "tcp",
                Some(Version::Rpc(name)) => name,
                _ if record.is_call => "grpc",
                _ => "http",
            },
            code: record.response_code.unwrap_or(0),
            grpc_status: record.grpc_status,
            flags: record.flags,
        }
    }

    pub(super) fn to_own(self) -> OwnFacts {
        OwnFacts {
            scalars: Facts { cluster: "", authority: "", peer: "", ..self },
            cluster: self.cluster.into(),
            authority: self.authority.into(),
            peer: self.peer.into(),
        }
    }
}

impl OwnFacts {
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts { cluster: &self.cluster, authority: &self.authority, peer: &self.peer, ..self.scalars }
    }
}

/// The host of an authority (RFC 3986, section 3.2).
fn host_of(authority: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(authority.get(..AUTHORITY.min(authority.len()))?).ok()?;
    let host = match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => text,
    };
    Some(host)
}
