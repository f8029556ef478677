//! How health checks begin their connections: as the cluster's requests do.

use std::io;
use std::sync::Arc;

use ringway_api::Address;
use ringway_control::{Secure, SecureFor, Securing, Socket};
use ringway_io::tls::ClientTls;
use ringway_preface::proxy_protocol;
use tokio_rustls::TlsConnector;

/// Secures connections with a cluster's TLS.
pub(in crate::control) struct Secured(Arc<ClientTls>);

impl Secured {
    pub(in crate::control) fn with(context: &Arc<ClientTls>) -> Arc<dyn SecureFor> {
        Arc::new(Self(Arc::clone(context)))
    }
}

impl SecureFor for Secured {
    fn host(&self, address: &Address, name: Option<&str>) -> Secure {
        let context = Arc::clone(&self.0);
        let host = match (name, address) {
            (Some(name), _) => name.to_owned(),
            (None, Address::Ip(ip)) => ip.ip().to_string(),
            (None, Address::Unix(_)) => String::new(),
        };
        Arc::new(move |socket, alpn| connect(&context, &host, socket, alpn))
    }
}

fn connect(context: &ClientTls, host: &str, socket: Box<dyn Socket>, alpn: &[&str]) -> Securing {
    let name = context.server_name(host).map_err(|error| io::Error::other(error.to_string()));
    let mut config = (*context.config()).clone();
    // What the check speaks, whatever the cluster's requests do.
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Box::pin(async move {
        let secured = TlsConnector::from(Arc::new(config)).connect(name?, socket).await?;
        io::Result::Ok(Box::new(secured) as Box<dyn Socket>)
    })
}

/// The PROXY header of a connection that is nobody's but this process's own.
pub(super) fn preamble(version: Option<u8>) -> Arc<[u8]> {
    let mut header = Vec::new();
    match version {
        None => {}
        Some(1) => header.extend_from_slice(b"PROXY UNKNOWN\r\n"),
        Some(_) => proxy_protocol::encode_local(&mut header),
    }
    header.into()
}
