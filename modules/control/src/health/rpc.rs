//! A check by the heartbeat of a protocol of calls.

use std::io;

use ringway_config::Heartbeat;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::CheckFailure;
use super::dial::{Dial, Socket};

/// Bytes of a frame that is not asked for, or of an answer: heartbeats are nearly empty.
const MOST_FRAME: usize = 4096;
/// Frames that may come before the answer: the host's own heartbeats, say.
const MOST_FRAMES: usize = 16;

/// Which heartbeat.
pub(super) struct RpcProbe {
    pub(super) heartbeat: Heartbeat,
    /// The id of the last one.
    pub(super) last: u32,
}

/// What a frame of the host is.
#[derive(Debug, PartialEq, Eq)]
enum Frame {
    /// The answer.
    Alive,
    /// Nothing to us.
    Other,
    /// It is not well, or is about to go.
    Unhealthy(String),
}

enum Fault {
    Io(io::Error),
    Unhealthy(String),
}

impl RpcProbe {
    /// Asks once. A connection that may be used again is left in `kept`.
    pub(super) async fn check(&mut self, dial: &Dial, kept: &mut Option<Box<dyn Socket>>) -> Result<(), CheckFailure> {
        let mut reused = kept.take();
        loop {
            let was_idle = reused.is_some();
            let mut socket = match reused.take() {
                Some(socket) => socket,
                None => dial.connect(&[]).await?,
            };
            self.last = self.last.wrapping_add(1);
            match beat(self.heartbeat, self.last, &mut *socket).await {
                Ok(()) => {
                    *kept = Some(socket);
                    return Ok(());
                }
                Err(Fault::Unhealthy(reason)) => return Err(CheckFailure::Unhealthy(reason)),
                // The host has closed it meanwhile, as it may.
                Err(Fault::Io(_)) if was_idle => {}
                Err(Fault::Io(error)) => return Err(CheckFailure::Network(error.to_string())),
            }
        }
    }
}

async fn beat(heartbeat: Heartbeat, id: u32, socket: &mut dyn Socket) -> Result<(), Fault> {
    let request = match heartbeat {
        Heartbeat::Dubbo => dubbo::request(id),
        Heartbeat::Bolt => bolt::request(1, id),
        Heartbeat::BoltV2 => bolt::request(2, id),
    };
    socket.write_all(&request).await.map_err(Fault::Io)?;
    socket.flush().await.map_err(Fault::Io)?;
    for _ in 0..MOST_FRAMES {
        let frame = match heartbeat {
            Heartbeat::Dubbo => dubbo::read(id, socket).await?,
            Heartbeat::Bolt => bolt::read(1, id, socket).await?,
            Heartbeat::BoltV2 => bolt::read(2, id, socket).await?,
        };
        match frame {
            Frame::Alive => return Ok(()),
            Frame::Other => {}
            Frame::Unhealthy(reason) => return Err(Fault::Unhealthy(reason)),
        }
    }
    Err(Fault::Unhealthy("sent much, but no answer".into()))
}

async fn body(length: usize, socket: &mut dyn Socket) -> Result<Vec<u8>, Fault> {
    if length > MOST_FRAME {
        return Err(Fault::Unhealthy(format!("a frame of {length} bytes where a heartbeat was expected")));
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.map_err(Fault::Io)?;
    Ok(body)
}

/// Dubbo2: a header of 16 bytes and one serialized null.
mod dubbo {
    use super::{AsyncReadExt, Fault, Frame, Socket, body};

    const REQUEST: u8 = 0x80;
    const TWO_WAY: u8 = 0x40;
    const EVENT: u8 = 0x20;
    const HESSIAN2: u8 = 2;
    const OK: u8 = 20;

    pub(super) fn request(id: u32) -> Vec<u8> {
        let mut frame = vec![0xda, 0xbb, REQUEST | TWO_WAY | EVENT | HESSIAN2, 0];
        frame.extend_from_slice(&u64::from(id).to_be_bytes());
        frame.extend_from_slice(&[0, 0, 0, 1, b'N']);
        frame
    }

    pub(super) async fn read(id: u32, socket: &mut dyn Socket) -> Result<Frame, Fault> {
        let mut head = [0; 16];
        socket.read_exact(&mut head).await.map_err(Fault::Io)?;
        let [0xda, 0xbb, flags, status, a, b, c, d, e, f, g, h, length @ ..] = head else {
            return Err(Fault::Unhealthy("answered with something that is not Dubbo".into()));
        };
        let body = body(u32::from_be_bytes(length) as usize, socket).await?;
        if flags & EVENT == 0 {
            return Ok(Frame::Other);
        }
        if flags & REQUEST != 0 {
            // An event of one string, `R`: the host takes no new calls.
            return Ok(match &*body {
                [1, b'R'] => Frame::Unhealthy("says that it is read-only".into()),
                _ => Frame::Other,
            });
        }
        let ours = u64::from_be_bytes([a, b, c, d, e, f, g, h]) == u64::from(id);
        Ok(match (ours, status) {
            (false, _) => Frame::Other,
            (true, OK) => Frame::Alive,
            (true, status) => Frame::Unhealthy(format!("answered status {status}")),
        })
    }
}

/// Bolt, versions 1 and 2: a header with nothing after it.
mod bolt {
    use super::{AsyncReadExt, Fault, Frame, Socket, body};

    const RESPONSE: u8 = 0;
    const HEARTBEAT: u16 = 0;
    const GOAWAY: u16 = 100;

    pub(super) fn request(version: u8, id: u32) -> Vec<u8> {
        let mut frame = vec![version];
        if version == 2 {
            // Version 1 of the protocol's second version: without a checksum.
            frame.push(1);
        }
        // Request, heartbeat, version 1 of the command.
        frame.extend_from_slice(&[1, 0, 0, 1]);
        frame.extend_from_slice(&id.to_be_bytes());
        // Hessian2, and no switches.
        frame.push(1);
        if version == 2 {
            frame.push(0);
        }
        // A timeout that nobody looks at; no class, header or content.
        frame.extend_from_slice(&1000_u32.to_be_bytes());
        frame.extend_from_slice(&[0; 8]);
        frame
    }

    pub(super) async fn read(version: u8, id: u32, socket: &mut dyn Socket) -> Result<Frame, Fault> {
        let proto = socket.read_u8().await.map_err(Fault::Io)?;
        if proto != version {
            return Err(Fault::Unhealthy("answered with something that is not bolt".into()));
        }
        if version == 2 {
            let _protocol_version = socket.read_u8().await.map_err(Fault::Io)?;
        }
        let kind = socket.read_u8().await.map_err(Fault::Io)?;
        let command = socket.read_u16().await.map_err(Fault::Io)?;
        let _command_version = socket.read_u8().await.map_err(Fault::Io)?;
        let their = socket.read_u32().await.map_err(Fault::Io)?;
        let _codec = socket.read_u8().await.map_err(Fault::Io)?;
        if version == 2 {
            let _switches = socket.read_u8().await.map_err(Fault::Io)?;
        }
        // Then a status, or a timeout, and lengths.
        let status = if kind == RESPONSE {
            socket.read_u16().await.map_err(Fault::Io)?
        } else {
            socket.read_u32().await.map_err(Fault::Io)?;
            0
        };
        let class = socket.read_u16().await.map_err(Fault::Io)?;
        let header = socket.read_u16().await.map_err(Fault::Io)?;
        let content = socket.read_u32().await.map_err(Fault::Io)?;
        let rest = usize::from(class) + usize::from(header) + content as usize;
        body(rest, socket).await?;
        Ok(match (kind, command) {
            (_, GOAWAY) => Frame::Unhealthy("says that it is going away".into()),
            (RESPONSE, HEARTBEAT) if their == id => match status {
                0 => Frame::Alive,
                status => Frame::Unhealthy(format!("answered status {status}")),
            },
            _ => Frame::Other,
        })
    }
}
