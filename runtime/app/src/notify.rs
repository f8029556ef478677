//! Readiness for systemd (`sd_notify`): datagrams to the socket it names. Without one, nothing happens.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Tells systemd that the service is ready.
pub(crate) fn ready() {
    send("READY=1");
}

/// Tells systemd that the service ends.
pub(crate) fn stopping() {
    send("STOPPING=1");
}

/// Tells systemd, and whoever asks it, what the service does.
pub(crate) fn status(text: &str) {
    send(&format!("STATUS={text}"));
}

fn send(message: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let bytes = path.as_encoded_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address));
    if let Err(error) = sent {
        eprintln!("ringway: cannot notify systemd: {error}");
    }
}
