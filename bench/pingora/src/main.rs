//! A plain reverse proxy on Pingora: one worker thread, one upstream, `X-Forwarded-For` set.
//!
//! `ringway-bench-pingora --listen ADDRESS --upstream ADDRESS [--certificate FILE --key FILE] [--h2-upstream]`
//!
//! With a certificate the listener speaks TLS and offers h2 and http/1.1. Without one it takes HTTP/1.1 and
//! prior-knowledge HTTP/2.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::Result;
use pingora_core::apps::HttpServerOptions;
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::RequestHeader;
use pingora_proxy::{ProxyHttp, ProxyServiceBuilder, Session};

/// Never too small for the scenarios.
const POOL: usize = 16_384;
/// Streams on one upstream connection. The crate's default is 1.
const UPSTREAM_STREAMS: usize = 100;
const IDLE: Duration = Duration::from_secs(600);
const FORWARDED_FOR: &str = "x-forwarded-for";

fn main() -> ExitCode {
    let result = Args::parse(std::env::args().skip(1)).and_then(|args| serve(&args).map_err(|e| e.to_string()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("ringway-bench-pingora: {why}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Args) -> Result<()> {
    let conf = ServerConf {
        threads: 1,
        work_stealing: false,
        upstream_keepalive_pool_size: POOL,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let proxy = Proxy { peer: peer(args) };
    let mut options = HttpServerOptions::default();
    options.h2c = args.certificate.is_none();
    let mut service = ProxyServiceBuilder::new(&server.configuration, proxy).server_options(options).build();
    let listen = args.listen.to_string();
    match &args.certificate {
        Some((certificate, key)) => {
            let mut tls = TlsSettings::intermediate(certificate, key)?;
            tls.enable_h2();
            service.add_tls_with_settings(&listen, None, tls);
        }
        None => service.add_tcp(&listen),
    }
    server.add_service(service);
    server.run_forever()
}

fn peer(args: &Args) -> HttpPeer {
    let mut peer = HttpPeer::new(args.upstream, false, String::new());
    let version = if args.h2_upstream { 2 } else { 1 };
    peer.options.set_http_version(version, version);
    peer.options.max_h2_streams = UPSTREAM_STREAMS;
    peer.options.idle_timeout = Some(IDLE);
    peer
}

struct Proxy {
    peer: HttpPeer,
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(self.peer.clone()))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        let Some(client) = session.client_addr().and_then(|address| address.as_inet()) else { return Ok(()) };
        request.append_header(FORWARDED_FOR, client.ip().to_string()).map(drop)
    }
}

struct Args {
    listen: SocketAddr,
    upstream: SocketAddr,
    /// The files of the chain and of its key.
    certificate: Option<(String, String)>,
    h2_upstream: bool,
}

impl Args {
    fn parse(mut words: impl Iterator<Item = String>) -> std::result::Result<Self, String> {
        let (mut listen, mut upstream, mut certificate, mut key, mut h2_upstream) = (None, None, None, None, false);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            let address = |text: String| text.parse().map_err(|e| format!("{text:?}: {e}"));
            match word.as_str() {
                "--listen" => listen = Some(address(value()?)?),
                "--upstream" => upstream = Some(address(value()?)?),
                "--certificate" => certificate = Some(value()?),
                "--key" => key = Some(value()?),
                "--h2-upstream" => h2_upstream = true,
                _ => return Err(format!("unknown argument {word:?}")),
            }
        }
        Ok(Self {
            listen: listen.ok_or("--listen is missing")?,
            upstream: upstream.ok_or("--upstream is missing")?,
            certificate: certificate.zip(key),
            h2_upstream,
        })
    }
}
