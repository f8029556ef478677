//! An upstream of the demo: answers with its name.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::routing::any;

use crate::run::block_on;

/// Starts an upstream on a free port; it takes up to `jitter_ms` to answer.
pub(super) fn start(name: &'static str, jitter_ms: u64) -> Result<SocketAddr> {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").context("no free port for an upstream")?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    thread::Builder::new().name(format!("upstream-{name}")).spawn(move || {
        let served = block_on(async {
            let slow = any(async || {
                tokio::time::sleep(Duration::from_secs(1)).await;
                "slow\n"
            });
            let rest = any(async move || {
                if jitter_ms > 0 {
                    tokio::time::sleep(Duration::from_millis(jitter_ms)).await;
                }
                format!("hello from {name}\n")
            });
            let routes = Router::new().route("/slow", slow).fallback_service(rest);
            axum::serve(tokio::net::TcpListener::from_std(socket)?, routes).await?;
            Ok(())
        });
        if let Err(error) = served {
            eprintln!("ringway: upstream {name}: {error:#}");
        }
    })?;
    Ok(address)
}
