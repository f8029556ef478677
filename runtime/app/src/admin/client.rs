//! The command line's side of the admin API: one request of a running process.

use std::io::{BufRead, BufReader, Read, Write};
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

/// Sends JSON, and passes on the content of the answer as it comes.
///
/// # Errors
/// As [`get`], or what `take` says.
pub(crate) fn follow(
    admin: SocketAddr,
    target: &str,
    body: &str,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut answer = BufReader::new(ask(admin, "POST", target, body)?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if answer.read_line(&mut head)? == 0 {
            bail!("{admin} does not speak HTTP");
        }
    }
    if head.split(' ').nth(1) != Some("200") {
        let mut content = String::new();
        answer.read_to_string(&mut content)?;
        bail!("{}", content.trim_end());
    }
    // Nothing may come for long.
    answer.get_ref().set_read_timeout(None)?;
    loop {
        let content = answer.fill_buf()?;
        if content.is_empty() {
            return Ok(());
        }
        take(content)?;
        let length = content.len();
        answer.consume(length);
    }
}

fn exchange(admin: SocketAddr, method: &str, target: &str, body: &str) -> Result<String> {
    let asking = || format!("admin at {admin}");
    let mut stream = ask(admin, method, target, body)?;
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

fn ask(admin: SocketAddr, method: &str, target: &str, body: &str) -> Result<TcpStream> {
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
    Ok(stream)
}
