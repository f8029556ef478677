//! The command line's side of the admin API: one request of a running process.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long the process may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Asks for a page.
///
/// # Errors
/// When nobody answers there, or the answer is not a good one: what it says then.
pub(crate) fn get(admin: SocketAddr, target: &str) -> Result<String> {
    exchange(admin, "GET", target, "")
}

/// Sends JSON, and returns the content of the answer.
///
/// # Errors
/// As [`get`].
pub(crate) fn post(admin: SocketAddr, target: &str, body: &str) -> Result<String> {
    exchange(admin, "POST", target, body)
}

fn exchange(admin: SocketAddr, method: &str, target: &str, body: &str) -> Result<String> {
    let asking = || format!("admin at {admin}");
    let mut stream = TcpStream::connect_timeout(&admin, TIMEOUT).with_context(asking)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let length = body.len();
    // HTTP/1.0: the answer ends with the connection, and is not chunked.
    let head = format!(
        "{method} {target} HTTP/1.0\r\nhost: {admin}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).with_context(asking)?;
    stream.write_all(body.as_bytes()).with_context(asking)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).with_context(asking)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, content) = answer.split_once("\r\n\r\n").with_context(|| format!("{admin} does not speak HTTP"))?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status != "200" {
        bail!("{}", content.trim_end());
    }
    Ok(content.to_owned())
}
