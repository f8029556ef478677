//! Connections of the control plane's own.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use ringway_api::Address;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::CheckFailure;

/// A connection, secured or not.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// What comes of securing a connection.
pub type Securing = Pin<Box<dyn Future<Output = io::Result<Box<dyn Socket>>> + Send>>;

/// Secures a connection, offering these protocols by ALPN.
pub type Secure = Arc<dyn Fn(Box<dyn Socket>, &'static [&'static str]) -> Securing + Send + Sync>;

/// How connections to a host begin.
#[derive(Clone)]
pub(super) struct Dial {
    pub(super) address: Address,
    pub(super) preamble: Arc<[u8]>,
    pub(super) secure: Option<Secure>,
}

impl Dial {
    /// Connects, introduces itself and secures the connection.
    pub(super) async fn connect(&self, alpn: &'static [&'static str]) -> Result<Box<dyn Socket>, CheckFailure> {
        let connected = async {
            let mut socket: Box<dyn Socket> = match &self.address {
                Address::Ip(ip) => {
                    let socket = TcpStream::connect(ip).await?;
                    socket.set_nodelay(true)?;
                    Box::new(socket)
                }
                Address::Unix(path) => Box::new(UnixStream::connect(Path::new(&**path)).await?),
            };
            if !self.preamble.is_empty() {
                socket.write_all(&self.preamble).await?;
            }
            io::Result::Ok(socket)
        };
        let socket = connected.await.map_err(|error| CheckFailure::Network(format!("cannot connect: {error}")))?;
        match &self.secure {
            None => Ok(socket),
            Some(secure) => {
                let secured = secure(socket, alpn).await;
                secured.map_err(|error| CheckFailure::Network(format!("TLS: {error}")))
            }
        }
    }
}
