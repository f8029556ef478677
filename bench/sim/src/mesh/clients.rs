//! Clients: requests that arrive whether earlier ones were answered or not.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ringway_api::{Address, Env};
use ringway_testkit::{MemoryIo, PairOptions, Rng, pair};

use super::{Core, Mesh};

/// Requests to be sent.
#[derive(Clone)]
pub(crate) struct Load {
    /// Per second, on average; each arrives independently of the others.
    pub(crate) rate: f64,
    /// From when on, since the beginning.
    pub(crate) from: Duration,
    /// Until when.
    pub(crate) until: Duration,
    /// The hosts that are asked for, each as likely as the others.
    pub(crate) hosts: Rc<[String]>,
}

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// When it was sent, since the beginning.
    pub(crate) at: Duration,
    /// How long the answer took.
    pub(crate) took: Duration,
    /// 0 when the connection broke.
    pub(crate) status: u16,
}

/// What was answered so far.
pub(crate) type Answers = Rc<RefCell<Vec<Asked>>>;

impl Mesh {
    /// Sends requests from now on, each on any worker.
    pub(crate) fn send(&self, load: Load, seed: u64) -> Answers {
        let answers = Answers::default();
        let (sim, cores, began, noted) =
            (self.sim.clone(), self.cores.clone(), self.fleet.began(), Rc::clone(&answers));
        self.sim.spawn(async move {
            let mut rng = Rng::new(seed);
            sim.sleep(load.from).await;
            while sim.now().since(began) < load.until {
                let unit = (rng.bits() >> 11) as f64 / (1_u64 << 53) as f64;
                sim.sleep(Duration::from_secs_f64(-(1.0 - unit).ln() / load.rate)).await;
                let (Some(core), Some(host)) =
                    (cores.get(rng.below(cores.len())), load.hosts.get(rng.below(load.hosts.len())))
                else {
                    return;
                };
                let request = format!("GET /api/items/4711 HTTP/1.1\r\nHost: {host}\r\n\r\n");
                let (core, noted, clock) = (Rc::clone(core), Rc::clone(&noted), sim.clone());
                sim.spawn(async move {
                    let sent = clock.now();
                    let status = core.ask(&request).await.unwrap_or(0);
                    let now = clock.now();
                    noted.borrow_mut().push(Asked { at: sent.since(began), took: now.since(sent), status });
                });
            }
        });
        answers
    }
}

impl Core {
    /// Sends a request on a connection that is kept for the next; the status of its answer.
    async fn ask(&self, request: &str) -> Option<u16> {
        let idle = self.idle.borrow_mut().pop();
        let mut io = match idle {
            Some(io) => io,
            None => self.connect()?,
        };
        io.send(request).await.ok()?;
        let (status, kept) = response(&mut io).await?;
        if kept {
            self.idle.borrow_mut().push(io);
        }
        Some(status)
    }

    fn connect(&self) -> Option<MemoryIo> {
        let listener = self.listener()?;
        let (near, far) = pair(PairOptions::default());
        let address = |text: &str| text.parse().ok().map(Address::Ip);
        self.worker.serve(&listener, far, (address(super::LISTENER)?, address("10.254.0.1:1000")?), None);
        Some(near)
    }
}

/// The status of a response, and whether its connection may be used again.
async fn response(io: &mut MemoryIo) -> Option<(u16, bool)> {
    let mut bytes = Vec::new();
    let end = loop {
        bytes.extend_from_slice(&io.recv().await.ok()??);
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8_lossy(bytes.get(..end)?).to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let length: usize = field("content-length:").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut left = (end + length).saturating_sub(bytes.len());
    while left > 0 {
        left = left.saturating_sub(io.recv().await.ok()??.len());
    }
    Some((status, field("connection:") != Some("close")))
}
