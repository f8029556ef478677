//! A check by a connection, and bytes if there are any.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::CheckFailure;
use super::dial::{Dial, Socket};

/// What is sent, and what must come.
pub(super) struct TcpProbe {
    pub(super) send: Vec<u8>,
    pub(super) receive: Vec<Vec<u8>>,
}

impl TcpProbe {
    /// Asks once. A connection that may be used again is left in `kept`.
    pub(super) async fn check(&self, dial: &Dial, kept: &mut Option<Box<dyn Socket>>) -> Result<(), CheckFailure> {
        // Who says nothing hears nothing more on a connection that has been heard once.
        let mut reused = kept.take().filter(|_| !self.send.is_empty());
        loop {
            let was_idle = reused.is_some();
            let mut socket = match reused.take() {
                Some(socket) => socket,
                None => dial.connect(&[]).await?,
            };
            match self.talk(&mut *socket).await {
                Ok(()) => {
                    *kept = Some(socket).filter(|_| !self.send.is_empty() && !self.receive.is_empty());
                    return Ok(());
                }
                // The host has closed it meanwhile, as it may.
                Err(_) if was_idle => {}
                Err(error) => return Err(CheckFailure::Network(error.to_string())),
            }
        }
    }

    async fn talk(&self, socket: &mut dyn Socket) -> io::Result<()> {
        socket.write_all(&self.send).await?;
        socket.flush().await?;
        let mut heard = Vec::new();
        for wanted in &self.receive {
            loop {
                if let Some(at) = heard.windows(wanted.len()).position(|part| part == wanted) {
                    heard.drain(..at + wanted.len());
                    break;
                }
                // What cannot be the beginning of it is forgotten, so that a talkative host costs no memory.
                heard.drain(..heard.len().saturating_sub(wanted.len() - 1));
                if socket.read_buf(&mut heard).await? == 0 {
                    return Err(io::Error::other("closed before all that was expected came"));
                }
            }
        }
        Ok(())
    }
}
