//! What every scenario works with: the upstream, the peers that can run, and how one is started.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::calibrate;
use crate::certificate::Certificate;
use crate::cli::Options;
use crate::launch::{self, Program, Running};
use crate::message;
use crate::peers::{Found, Mode, Peer, Site};
use crate::procfs;
use crate::scratch::ScratchDir;
use crate::upstream::Addresses;
use crate::watch::Watch;

/// The hidden subcommand of the upstream; its arguments are those of [`Addresses`].
pub(crate) const UPSTREAM: &str = "serve-upstream";

/// The upstream, the options, and the peers.
pub(crate) struct Bench {
    pub(crate) options: Options,
    pub(crate) peers: Vec<Entrant>,
    pub(crate) certificate: Certificate,
    addresses: Addresses,
    upstream: Running,
    _dir: ScratchDir,
}

/// A peer, found or not.
pub(crate) struct Entrant {
    pub(crate) peer: &'static dyn Peer,
    /// Or why it is skipped.
    pub(crate) found: Result<Found, String>,
}

/// One running proxy.
pub(crate) struct Instance {
    /// Where the client connects.
    pub(crate) target: SocketAddr,
    /// `None` for the peer that is no process.
    running: Option<Running>,
    /// Declared last: removed when the process has ended.
    _dir: ScratchDir,
}

impl Bench {
    /// Pins this thread to the load core, starts the upstream and looks for the peers.
    pub(crate) fn start(options: Options) -> Result<Self> {
        launch::raise_descriptor_limit();
        launch::pin(&[options.load_core])?;
        let dir = ScratchDir::new("upstream")?;
        let certificate = Certificate::generate(dir.path(), message::HOST)?;
        let addresses = Addresses::free(dir.path().to_owned())?;
        let args = std::iter::once(UPSTREAM.into()).chain(addresses.to_args());
        let program = Program::new::<std::ffi::OsString>(std::env::current_exe()?, args);
        let mut upstream = Running::start(&program, &[options.load_core], None, dir.path().join("log"))?;
        for address in addresses.ports() {
            upstream.wait_for(address).context("the upstream")?;
        }
        let entrant = |peer: &'static dyn Peer| Entrant { peer, found: peer.find(&options.places) };
        let peers = options.peers.iter().filter_map(|name| options.catalog.peer(name)).map(entrant).collect();
        Ok(Self { options, peers, certificate, addresses, upstream, _dir: dir })
    }

    /// Starts `peer` on `cores`. `prepare` may write files into its directory first.
    pub(crate) fn launch(
        &self,
        entrant: &Entrant,
        mode: Mode,
        cores: &[usize],
        cgroup: Option<&Path>,
        prepare: impl FnOnce(&mut Site) -> Result<()>,
    ) -> Result<Instance> {
        let found = entrant.found.as_ref().map_err(|why| anyhow::anyhow!("{why}"))?;
        let dir = ScratchDir::new(entrant.peer.name())?;
        let (listen, admin) = (launch::free_address()?, launch::free_address()?);
        let mut site = self.site(mode, listen, admin, dir.path());
        prepare(&mut site)?;
        let Some(program) = entrant.peer.program(found, &site)? else {
            return Ok(Instance { target: self.direct(mode), running: None, _dir: dir });
        };
        let mut running = Running::start(&program, cores, cgroup, dir.path().join("log"))?;
        running.wait_for(listen)?;
        Ok(Instance { target: listen, running: Some(running), _dir: dir })
    }

    fn site(&self, mode: Mode, listen: SocketAddr, admin: SocketAddr, dir: &Path) -> Site {
        let upstream = match mode {
            Mode::Tcp | Mode::Dubbo => self.addresses.tcp,
            Mode::H2c | Mode::Grpc => self.addresses.h2c,
            _ => self.addresses.http,
        };
        let (unix, certificate) = (self.addresses.unix(), self.certificate.clone());
        let collector = self.addresses.h2c;
        Site { mode, listen, admin, upstream, collector, hosts: Vec::new(), unix, certificate, dir: dir.to_owned() }
    }

    /// Where a client goes that uses no proxy.
    fn direct(&self, mode: Mode) -> SocketAddr {
        match mode {
            Mode::Http | Mode::Unix | Mode::Mesh | Mode::Logged | Mode::Traced(_) | Mode::Three => self.addresses.http,
            Mode::Tcp | Mode::Dubbo => self.addresses.tcp,
            Mode::Tls => self.addresses.tls,
            Mode::H2c | Mode::Grpc => self.addresses.h2c,
        }
    }

    /// Starts `entrant` on the proxy core with nothing special.
    pub(crate) fn launch_plain(&self, entrant: &Entrant, mode: Mode) -> Result<Instance> {
        self.launch(entrant, mode, &[self.options.proxy_core], None, |_| Ok(()))
    }

    /// Watches both cores; `proxy` are the processes of the peer under load.
    pub(crate) fn watch(&self, proxy: &[u32]) -> Result<Watch> {
        Watch::begin(&[self.options.proxy_core, self.options.load_core], &self.own(proxy))
    }

    /// Time of the fixed work on the proxy core.
    pub(crate) fn message_ns(&self) -> Result<f64> {
        calibrate::message_ns(self.options.proxy_core)
    }

    /// The processes that belong to the measurement.
    pub(crate) fn own(&self, proxy: &[u32]) -> Vec<u32> {
        let mut own = self.upstream.pids();
        own.push(std::process::id());
        own.extend(proxy);
        own
    }
}

impl Instance {
    /// The processes of the proxy; none for the peer that is no process.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.running.as_ref().map(Running::pids).unwrap_or_default()
    }

    /// How long ago its process was started; zero for the peer that is no process.
    pub(crate) fn age(&self) -> Duration {
        self.running.as_ref().map(Running::age).unwrap_or_default()
    }

    pub(crate) fn rss(&self) -> u64 {
        procfs::rss_bytes(&self.pids())
    }

    pub(crate) fn check_alive(&mut self) -> Result<()> {
        self.running.as_mut().map_or(Ok(()), Running::check_alive)
    }
}
