//! A worker with a listener, and hosts that answer as they are told.

use std::cell::RefCell;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringway_api::{Address, BalancerSpec, ConnError, Env, ProtocolSpec};
use ringway_config::{Catalog, Service, Target, compile};
use ringway_http1::Http1;
use ringway_proxy::{
    ChainPlan, ClusterPlan, CoreView, FilterPlans, ForwardPolicy, Handshake, ListenerPlan, PathPolicy, Plan,
    ProtocolEntry, Sampling, Security, ServicePlan, Toolbox, TracePlan, Worker,
};
use ringway_telemetry::{
    ClusterStats, Field, Needs, PROPAGATIONS, Registry, ReportLane, ReportRing, Scope, SinkPlan, Sinks, StreamRecord,
    StreamReport, StreamSink,
};
use ringway_testkit::{MemoryIo, MemoryNet, NetMode, PairOptions, Sim, pair};
use ringway_upstream::balance::{PeakEwma, RoundRobin};
use ringway_upstream::{BreakerLimits, HostParams, RetryAllowance};

const PROTOCOLS: &[ProtocolEntry<MemoryIo>] = &[ProtocolEntry::of::<Http1>()];
const CATALOG: Catalog = Catalog {
    protocols: &[ProtocolSpec::of::<Http1>()],
    filters: &[],
    balancers: &[BalancerSpec::of::<RoundRobin>(), BalancerSpec::of::<PeakEwma>()],
    check_access_log: |_| Ok(()),
    compile_value: |_| Err("no operators here".into()),
};

/// What a host does with a request.
pub(crate) enum Does {
    /// Answers with these bytes after a while, and keeps the connection.
    Answer(Duration, String),
    /// Reads on and says nothing.
    Hang,
    /// Closes the connection.
    Close,
}

/// A request as a host got it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) host: Address,
    pub(crate) at: Duration,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// A field of the head.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        field(&self.head, name)
    }
}

type Script = Box<dyn Fn(usize, &Seen) -> Does>;

pub(crate) struct World {
    pub(crate) sim: Sim,
    pub(crate) net: Rc<MemoryNet>,
    pub(crate) seen: Rc<RefCell<Vec<Seen>>>,
    pub(crate) scope: Arc<Scope<ClusterStats>>,
    pub(crate) registry: Registry,
    pub(crate) limits: BreakerLimits,
    reports: Arc<ReportRing<StreamReport>>,
    view: CoreView<MemoryIo>,
    worker: Rc<Worker>,
}

const LISTENER: &str = "10.0.0.1:80";

impl World {
    /// A worker whose route is `route` besides its cluster, and whose cluster has `cluster`. `script` is asked for
    /// each request by its number, from 0.
    pub(crate) fn new(route: &str, cluster: &str, script: impl Fn(usize, &Seen) -> Does + 'static) -> Self {
        Self::build(64 << 20, None, route, cluster, script)
    }

    /// The same, traced in all formats.
    pub(crate) fn traced(sampling: Sampling, route: &str, script: impl Fn(usize, &Seen) -> Does + 'static) -> Self {
        Self::build(64 << 20, Some(sampling), route, "", script)
    }

    /// The same, with so many bytes for contents that may be sent again.
    pub(crate) fn with_replay_memory(
        replay: usize,
        route: &str,
        cluster: &str,
        script: impl Fn(usize, &Seen) -> Does + 'static,
    ) -> Self {
        Self::build(replay, None, route, cluster, script)
    }

    fn build(
        replay: usize,
        sampling: Option<Sampling>,
        route: &str,
        cluster: &str,
        script: impl Fn(usize, &Seen) -> Does + 'static,
    ) -> Self {
        let text = format!(
            r#"
listeners:
  - name: web
    address: "{LISTENER}"
    protocol: http1
    routes: {{ virtual_hosts: [{{ domains: ["*"], routes: [{{ match: {{ prefix: / }}, route: {{ cluster: app, {route} }} }}] }}] }}
clusters:
  - {{ name: app, endpoints: ["10.0.1.1:80", "10.0.1.2:80"], {cluster} }}
  - {{ name: shadow, endpoints: ["10.0.2.1:80"] }}
"#
        );
        let sim = Sim::new(7);
        let net = Rc::new(MemoryNet::new(sim.env(), PairOptions::default()));
        let registry = Registry::new(1);
        let reports = ReportRing::new(1, 64, || ());
        let tracing = sampling.map(|sampling| {
            let (service, propagation) = ("shop".into(), PROPAGATIONS.iter().collect());
            Arc::new(TracePlan { service, propagation, sampling, stats: Arc::clone(&registry.tracing) })
        });
        let plan = Arc::new(plan(&text, &registry, &reports, tracing));
        let limits = plan.clusters[0].limits.clone();
        let worker = Worker::new(sim.env(), 0, Box::new(|_| {}));
        let security = Security { accept: |_, _| refuse(), connect: |_, _, _| refuse() };
        let connect = Rc::clone(&net) as Rc<dyn ringway_api::Connect<MemoryIo>>;
        let tools = Toolbox::new(Rc::clone(&worker), sim.env(), connect, |_| None, security, PROTOCOLS, (0, 1))
            .with_replay_memory(replay);
        let view = CoreView::build(plan, None, &tools);
        let seen = Rc::default();
        let hosts = Hosts { sim: sim.clone(), began: sim.now(), seen: Rc::clone(&seen), script: Box::new(script) };
        sim.spawn(run_hosts(Rc::clone(&net), Rc::new(hosts)));
        let scope = registry.cluster("app");
        Self { sim, net, seen, scope, registry, limits, reports, view, worker }
    }

    /// A client's connection.
    pub(crate) fn connect(&self) -> MemoryIo {
        let (near, far) = pair(PairOptions::default());
        let listener = self.view.listener(&address(LISTENER)).unwrap();
        self.worker.serve(listener, far, (address(LISTENER), address("10.0.3.1:1000")), None);
        near
    }

    /// Sends a request, and lets time pass until its response is there.
    pub(crate) fn ask(&self, request: &str) -> String {
        let mut client = self.connect();
        self.sim.block_on(async {
            client.send(request).await.unwrap();
            response(&mut client).await
        })
    }

    pub(crate) fn get(&self) -> String {
        self.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    }

    pub(crate) fn refuse_connections(&self) {
        self.net.set_mode(NetMode::Refuse);
    }

    pub(crate) fn stat(&self, read: impl Fn(&ClusterStats) -> u64) -> u64 {
        self.scope.blocks().map(read).sum()
    }

    /// The streams that have ended since they were last asked for.
    pub(crate) fn ended(&self) -> Vec<StreamReport> {
        let mut ended = Vec::new();
        self.reports.drain(usize::MAX, |report| ended.push(report));
        ended
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.sim.stop();
    }
}

fn refuse() -> Handshake<MemoryIo> {
    Box::pin(std::future::ready(Err(ConnError::new(ringway_api::Blame::Local, "no_tls"))))
}

struct Hosts {
    sim: Sim,
    began: ringway_api::Time,
    seen: Rc<RefCell<Vec<Seen>>>,
    script: Script,
}

async fn run_hosts(net: Rc<MemoryNet>, hosts: Rc<Hosts>) {
    loop {
        let (to, mut io) = net.accept().await;
        let (hosts, sim) = (Rc::clone(&hosts), hosts.sim.clone());
        sim.spawn(async move {
            while let Some((head, body)) = message(&mut io).await {
                let at = hosts.sim.now().since(hosts.began);
                let seen = Seen { host: to[0].clone(), at, head, body };
                let number = hosts.seen.borrow().len();
                hosts.seen.borrow_mut().push(seen.clone());
                match (hosts.script)(number, &seen) {
                    Does::Answer(after, bytes) => {
                        if !after.is_zero() {
                            hosts.sim.sleep(after).await;
                        }
                        if io.send(bytes).await.is_err() {
                            return;
                        }
                    }
                    Does::Hang => std::future::pending().await,
                    Does::Close => return,
                }
            }
        });
    }
}

/// A head and its content, which has a length if it is there; `None` at the end.
async fn message(io: &mut MemoryIo) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let mut body = bytes.split_off(end + 4);
            let head = String::from_utf8(bytes).unwrap();
            let length: usize = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
            while body.len() < length {
                body.extend_from_slice(&io.recv().await.ok()??);
            }
            return Some((head, body));
        }
        bytes.extend_from_slice(&io.recv().await.ok()??);
    }
}

/// A response with its content, as text.
pub(crate) async fn response(client: &mut MemoryIo) -> String {
    let (head, body) = message(client).await.unwrap_or_default();
    head + &String::from_utf8_lossy(&body)
}

/// A response head's field.
pub(crate) fn field(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

pub(crate) fn address(text: &str) -> Address {
    Address::Ip(text.parse().unwrap())
}

/// At once, with these fields besides, and `ok`.
pub(crate) fn answer(status: u16, fields: &str) -> Does {
    after(0, status, fields)
}

/// The same after so many milliseconds.
pub(crate) fn after(millis: u64, status: u16, fields: &str) -> Does {
    let text = format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n{fields}\r\nok");
    Does::Answer(Duration::from_millis(millis), text)
}

/// Keeps what streams are reported with.
struct Reports(Arc<ReportRing<StreamReport>>);

struct Lane(ReportLane<StreamReport>);

impl Reports {
    fn sinks(ring: &Arc<ReportRing<StreamReport>>) -> Arc<Sinks> {
        let mut sinks = Sinks::default();
        sinks.add(|needs: &mut Needs| {
            needs.add(Field::Attempts);
            Self(Arc::clone(ring))
        });
        Arc::new(sinks)
    }
}

impl SinkPlan for Reports {
    fn on_worker(&self, worker: usize) -> Option<Box<dyn StreamSink>> {
        Some(Box::new(Lane(self.0.lane(worker)?)))
    }
}

impl StreamSink for Lane {
    fn ended(&self, record: &StreamRecord<'_>) {
        self.0.push(StreamReport::of(record));
    }
}

fn plan(
    text: &str,
    registry: &Registry,
    reports: &Arc<ReportRing<StreamReport>>,
    tracing: Option<Arc<TracePlan>>,
) -> Plan {
    let snapshot = compile("test", text, &CATALOG, None).unwrap();
    let clusters = snapshot.clusters.iter().map(|cluster| {
        let raw = &cluster.raw;
        let hosts = cluster.endpoints.iter().map(|endpoint| match &endpoint.target {
            Target::Address(address) => HostParams::new(address.clone()),
            Target::Name { .. } => panic!("addresses only"),
        });
        let limits =
            BreakerLimits::new(raw.limits.max_connections, raw.limits.max_pending_requests, raw.limits.max_requests, 1);
        let budget = raw.retry_budget;
        let budget = RetryAllowance::Budget { percent: budget.percent, min: budget.min_concurrency };
        limits.retries.resize(raw.limits.max_retries.map_or(budget, RetryAllowance::Absolute));
        Arc::new(ClusterPlan {
            name: raw.name.as_str().into(),
            hosts: hosts.collect(),
            balancer: cluster.balancer.clone(),
            grouping: Arc::default(),
            protocols: Arc::clone(&cluster.protocols),
            tls: None,
            proxy_protocol: None,
            connect_timeout: raw.connect_timeout.duration(),
            pending_timeout: raw.limits.pending_timeout.unwrap_or(raw.connect_timeout).duration(),
            idle_timeout: raw.idle_timeout.limit(),
            max_requests_per_connection: NonZeroU32::new(raw.max_requests_per_connection),
            bound: cluster.bound,
            original: None,
            limits,
            transport: 0,
            passive: None,
            stats: registry.cluster(&raw.name),
        })
    });
    let listeners = snapshot.listeners.iter().map(|listener| {
        let Service::Streams { protocols, routes, .. } = &listener.chains[0].service else { panic!("streams only") };
        Arc::new(ListenerPlan {
            name: "web".into(),
            address: listener.address.clone(),
            max_connections: None,
            proxy_protocol: None,
            original_dst: false,
            sniff_timeout: Duration::from_secs(1),
            matcher: Arc::clone(&listener.matcher),
            chains: vec![Arc::new(ChainPlan {
                name: "".into(),
                tls: None,
                service: ServicePlan::Streams {
                    protocols: Arc::clone(protocols),
                    filters: FilterPlans::default(),
                    routes: Arc::clone(routes),
                },
                forward: Arc::new(ForwardPolicy::default()),
                path: PathPolicy { normalize: true, merge_slashes: false },
                sinks: Reports::sinks(reports),
                tracing: tracing.clone(),
                http: registry.http("web"),
                tcp: registry.tcp("web"),
            })],
            stats: registry.listener("web"),
        })
    });
    Plan { generation: 1, listeners: listeners.collect(), clusters: clusters.collect() }
}
