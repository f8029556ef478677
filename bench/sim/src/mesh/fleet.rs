//! Hosts: each serves some requests at once, lets others wait, and fails when it is told to.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use ringway_api::{Address, Connect, ConnectError, Env, LocalBoxFuture, Time};
use ringway_testkit::{MemoryIo, PairOptions, Rng, Sim, pair};

/// All hosts there are, by number.
pub(crate) struct Fleet {
    hosts: Vec<Host>,
    by_address: HashMap<Address, usize>,
    behaviour: Behaviour,
    rng: RefCell<Rng>,
    tries: RefCell<Vec<(Duration, usize)>>,
    clock: Option<(Sim, Time)>,
}

/// What a host does at some time since the beginning.
pub(crate) type Behaviour = Box<dyn Fn(usize, Duration) -> Conduct>;

/// What a host does with a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Conduct {
    /// It takes so many times its usual time.
    Serve(f64),
    /// 503 after so long.
    Fail(Duration),
    /// It never answers.
    Hang,
    /// Connections are refused, and those there are cut.
    Refuse,
}

struct Host {
    /// When each of its places is free again.
    free: RefCell<BinaryHeap<Reverse<Time>>>,
    usual: Duration,
    /// What would have to wait longer is refused.
    patience: Duration,
}

/// How long a refusal takes.
const REFUSAL: Duration = Duration::from_millis(1);

impl Fleet {
    /// `count` hosts that serve `places` requests at once, in `usual` on average (exponentially distributed), and refuse
    /// those that would wait longer than `patience`.
    pub(crate) fn new(
        count: usize,
        places: usize,
        usual: Duration,
        patience: Duration,
        seed: u64,
        behaviour: Behaviour,
    ) -> Self {
        let host = |_| Host { free: RefCell::new((0..places).map(|_| Reverse(Time(0))).collect()), usual, patience };
        Self {
            hosts: (0..count).map(host).collect(),
            by_address: (0..count).map(|at| (address(at).into(), at)).collect(),
            behaviour,
            rng: RefCell::new(Rng::new(!seed)),
            tries: RefCell::default(),
            clock: None,
        }
    }

    /// The addresses of these hosts, for a configuration.
    pub(crate) fn endpoints(of: impl IntoIterator<Item = usize>) -> Vec<String> {
        of.into_iter().map(|at| address(at).to_string()).collect()
    }

    pub(super) fn begin(mut self, sim: &Sim) -> Self {
        self.clock = Some((sim.clone(), sim.now()));
        self
    }

    pub(super) fn began(&self) -> Time {
        self.clock.as_ref().map_or(Time(0), |(_, began)| *began)
    }

    /// When which host got a request, in order.
    pub(crate) fn tries(&self) -> std::cell::Ref<'_, Vec<(Duration, usize)>> {
        self.tries.borrow()
    }

    fn conduct(&self, host: usize, sim: &Sim) -> Conduct {
        (self.behaviour)(host, sim.now().since(self.began()))
    }

    /// How long a request takes at a host from now on; `None` when the host refuses it.
    fn admit(&self, host: &Host, factor: f64, now: Time) -> Option<Duration> {
        let mut free = host.free.borrow_mut();
        let Reverse(first) = free.pop()?;
        let begin = first.max(now);
        if begin.since(now) > host.patience {
            free.push(Reverse(first));
            return None;
        }
        let unit = (self.rng.borrow_mut().bits() >> 11) as f64 / (1_u64 << 53) as f64;
        let service = host.usual.mul_f64(factor * -(1.0 - unit).ln());
        free.push(Reverse(begin + service));
        Some(begin.since(now) + service)
    }

    async fn serve(self: Rc<Self>, at: usize, mut io: MemoryIo) -> Option<()> {
        let (sim, began) = self.clock.clone()?;
        let host = self.hosts.get(at)?;
        loop {
            if !io.recv_until(b"\r\n\r\n").await.ends_with(b"\r\n\r\n") {
                return None;
            }
            let conduct = self.conduct(at, &sim);
            self.tries.borrow_mut().push((sim.now().since(began), at));
            let (took, status) = match conduct {
                Conduct::Serve(factor) => match self.admit(host, factor, sim.now()) {
                    Some(took) => (took, "200 OK"),
                    None => (REFUSAL, "503 Busy"),
                },
                Conduct::Fail(after) => (after, "503 Broken"),
                Conduct::Hang => std::future::pending().await,
                Conduct::Refuse => return None,
            };
            // Whoever gave up meanwhile has still cost the host its time.
            sim.sleep(took).await;
            io.send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")).await.ok()?;
        }
    }
}

/// Connects workers to the hosts.
pub(super) struct Network(pub(super) Rc<Fleet>);

impl Connect<MemoryIo> for Network {
    fn connect(&self, to: &[Address], _: Duration) -> LocalBoxFuture<'static, Result<MemoryIo, ConnectError>> {
        let fleet = Rc::clone(&self.0);
        let at = to.first().and_then(|address| fleet.by_address.get(address)).copied();
        Box::pin(async move {
            let refused = || ConnectError::Failed(io::ErrorKind::ConnectionRefused.into());
            let (at, (sim, _)) = at.zip(fleet.clock.clone()).ok_or_else(refused)?;
            if matches!(fleet.conduct(at, &sim), Conduct::Refuse) {
                fleet.tries.borrow_mut().push((sim.now().since(fleet.began()), at));
                return Err(refused());
            }
            let (near, far) = pair(PairOptions::default());
            sim.spawn(async move {
                fleet.serve(at, far).await;
            });
            Ok(near)
        })
    }
}

fn address(at: usize) -> SocketAddr {
    let [.., high, low] = (at as u32).to_be_bytes();
    (Ipv4Addr::new(10, 1, high, low), 8080).into()
}
