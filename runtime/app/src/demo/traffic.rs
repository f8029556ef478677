//! The demo's clients.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::run::block_on;

const PATHS: [&str; 5] = ["/", "/", "/api/items", "/", "/api/users"];

/// Makes requests until the process ends.
pub(super) fn run(to: SocketAddr, connections: u16, rate: u32) {
    let traffic = block_on(async {
        let pace = Duration::from_secs_f64(f64::from(connections) / f64::from(rate));
        let clients: Vec<_> = (0..connections).map(|at| tokio::spawn(client(to, usize::from(at), pace))).collect();
        for client in clients {
            client.await?;
        }
        Ok(())
    });
    if let Err(error) = traffic {
        eprintln!("ringway: traffic: {error:#}");
    }
}

async fn client(to: SocketAddr, at: usize, pace: Duration) {
    loop {
        // Until the proxy is there, and again whenever it closes.
        if converse(to, at, pace).await.is_err() {
            sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn converse(to: SocketAddr, at: usize, pace: Duration) -> Result<()> {
    let mut stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset_at(Instant::now() + pace.mul_f64((at % 7) as f64 / 7.0));
    let mut buffer = vec![0; 4096];
    for path in PATHS.iter().cycle().skip(at) {
        ticks.tick().await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: demo\r\nUser-Agent: ringway-demo\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut got = 0;
        // The answers are small, have a length, and one is read before the next is asked for.
        while !is_whole(buffer.get(..got).unwrap_or_default()) {
            let Some(room) = buffer.get_mut(got..).filter(|room| !room.is_empty()) else { bail!("answer too large") };
            match stream.read(room).await? {
                0 => bail!("closed"),
                count => got += count,
            }
        }
    }
    Ok(())
}

/// True once a head and as much content as it says are there.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let Some((head, content)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    content.len() >= length.unwrap_or(0)
}
