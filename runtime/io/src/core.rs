//! A worker: one pinned thread with a ring, a driver and tasks.

mod pace;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, SystemTime};

use ringway_api::{Address, Connect, ConnectError, Env, LocalBoxFuture, Time, Timer};

use self::pace::Pace;
use crate::clock::wall;
use crate::connect;
use crate::driver::{Driver, DriverStats};
use crate::exec::{Counted, Tasks, yield_now};
use crate::listen::{Accepted, Bound, Listener};
use crate::remote::Remote;
use crate::ring::RingConfig;
use crate::stream::Stream;
use crate::sys;
use crate::timer::WheelTimer;

/// Polls between two looks at the ring, so that busy tasks do not keep I/O waiting.
const POLLS_PER_TURN: usize = 256;
/// Rounds of glommio's queue between two looks at the ring.
const YIELDS_PER_TURN: usize = 16;
/// Bytes accepted for sending and not delivered at which a stream takes no more.
const SEND_LIMIT: usize = 256 << 10;

/// What runs a worker's tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Executor {
    /// The run queue of this crate. The default: see docs/performance.md for what the other costs.
    #[default]
    Native,
    /// A glommio executor with the ring's loop as one of its tasks.
    Glommio,
}

/// How to run a worker.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// The CPU to run on; `None` leaves it to the kernel.
    pub cpu: Option<usize>,
    /// The ring.
    pub ring: RingConfig,
    /// The resolution of timeouts while there is work. An idle worker has no tick.
    pub tick: Duration,
    /// Bytes accepted for sending and not delivered at which a stream takes no more.
    pub send_limit: usize,
    /// What runs the tasks.
    pub executor: Executor,
    /// Called on the worker's thread when it has gone quiet, at most once a second: to have the allocator give memory
    /// back, say.
    pub on_rest: Option<fn()>,
}

impl Default for CoreConfig {
    fn default() -> Self {
        Self {
            cpu: None,
            ring: RingConfig::default(),
            tick: Duration::from_millis(4),
            send_limit: SEND_LIMIT,
            executor: Executor::default(),
            on_rest: None,
        }
    }
}

/// Counters of a worker since its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct CoreStats {
    /// The driver's.
    pub driver: DriverStats,
    /// Polls of tasks.
    pub polls: u64,
    /// Tasks that have not ended.
    pub tasks: usize,
    /// Tasks that ended by a panic.
    pub panics: u64,
    /// Timers that are set.
    pub timers: usize,
    /// Bytes of receive buffers that chunks hold.
    pub held_bytes: usize,
}

/// A worker's handle: its [`Env`], its sockets. Cheap to clone; stays on its thread.
#[derive(Clone)]
pub struct Core {
    shared: Rc<CoreShared>,
}

struct CoreShared {
    driver: Rc<Driver>,
    tasks: Rc<Tasks>,
    remote: Arc<Remote>,
    executor: Executor,
    /// Polls of tasks that glommio runs.
    counted: Rc<Cell<u64>>,
    /// Who waits for other threads' messages.
    mail: RefCell<Vec<Waker>>,
    /// Ticks with events so far, and who waits for the next.
    work: Cell<u64>,
    idlers: RefCell<Vec<Waker>>,
    random: Cell<u64>,
}

/// Runs a worker on this thread until the future that `main` makes is done. Tasks still alive then are dropped.
///
/// # Errors
/// The kernel's, when the ring cannot be made ([`crate::probe`] says why beforehand) or fails.
pub fn run<F, T>(config: &CoreConfig, main: impl FnOnce(Core) -> F) -> io::Result<T>
where
    F: Future<Output = T> + 'static,
    T: 'static,
{
    if let Some(cpu) = config.cpu {
        sys::pin_to(cpu)?;
    }
    match config.executor {
        Executor::Native => run_native(config, main),
        Executor::Glommio => run_glommio(config, main),
    }
}

fn run_native<F, T>(config: &CoreConfig, main: impl FnOnce(Core) -> F) -> io::Result<T>
where
    F: Future<Output = T> + 'static,
    T: 'static,
{
    let core = Core::new(config)?;
    let result = core.start(main);
    let mut pace = Pace::new(config);
    loop {
        let more = core.shared.tasks.run(POLLS_PER_TURN);
        if let Some(result) = result.take() {
            core.shut_down();
            return Ok(result);
        }
        pace.turn(&core, !more)?;
    }
}

fn run_glommio<F, T>(config: &CoreConfig, main: impl FnOnce(Core) -> F) -> io::Result<T>
where
    F: Future<Output = T> + 'static,
    T: 'static,
{
    // Small, because glommio's own rings and buffers are not used.
    let executor = glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound)
        .io_memory(64 << 10)
        .ring_depth(8)
        .make()
        .map_err(|error| io::Error::other(format!("glommio: {error}")))?;
    executor.run(async {
        let core = Core::new(config)?;
        let result = core.start(main);
        let mut pace = Pace::new(config);
        loop {
            // glommio does not tell whether a task is ready. A round in which none was polled says that none is.
            let mut quiet = false;
            for _ in 0..YIELDS_PER_TURN {
                let polls = core.polls();
                yield_now().await;
                quiet = core.polls() == polls;
                if quiet {
                    break;
                }
            }
            if let Some(result) = result.take() {
                core.shut_down();
                // Without wakers its tasks end as soon as glommio looks.
                yield_now().await;
                return Ok(result);
            }
            pace.turn(&core, quiet)?;
        }
    })
}

/// Where the main future leaves its result, or its panic.
struct Outcome<T>(Rc<Cell<Option<thread::Result<T>>>>);

impl<T> Outcome<T> {
    /// The result once it is there. A panic of the main future goes on here, on the caller's stack.
    fn take(&self) -> Option<T> {
        self.0.take().map(|result| result.unwrap_or_else(|panic| resume_unwind(panic)))
    }
}

impl Core {
    fn new(config: &CoreConfig) -> io::Result<Self> {
        let remote = Arc::new(Remote::new()?);
        let driver = Driver::new(&config.ring, config.send_limit)?;
        driver.watch_event(remote.event());
        let seed = wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let shared = CoreShared {
            tasks: Tasks::enter(Arc::clone(&remote)),
            driver,
            random: Cell::new((seed.as_nanos() as u64) ^ remote.worker().wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            remote,
            executor: config.executor,
            counted: Rc::default(),
            mail: RefCell::default(),
            work: Cell::new(1),
            idlers: RefCell::default(),
        };
        Ok(Self { shared: Rc::new(shared) })
    }

    fn start<F, T>(&self, main: impl FnOnce(Self) -> F) -> Outcome<T>
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        let result = Rc::new(Cell::new(None));
        let (place, future) = (Rc::clone(&result), main(self.clone()));
        self.spawn(Box::pin(async move {
            let mut future = Box::pin(future);
            let caught = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
                Err(panic) => Poll::Ready(Err(panic)),
            });
            place.set(Some(caught.await));
        }));
        Outcome(result)
    }

    /// Drops the tasks that are left, then lets what they closed reach the peers.
    fn shut_down(&self) {
        self.shared.tasks.clear();
        self.shared.mail.borrow_mut().clear();
        self.shared.idlers.borrow_mut().clear();
        self.shared.driver.forget_wakers();
        self.shared.tasks.leave();
        for _ in 0..8 {
            if self.shared.driver.turn(false, None).is_err() {
                return;
            }
        }
    }

    /// Wakes whoever waits for other threads' messages.
    fn deliver(&self) {
        self.shared.remote.seen();
        self.shared.driver.watch_event(self.shared.remote.event());
        let waiting = std::mem::take(&mut *self.shared.mail.borrow_mut());
        waiting.iter().for_each(Waker::wake_by_ref);
    }

    pub(crate) fn wait_for_mail(&self, waker: &Waker) {
        let mut mail = self.shared.mail.borrow_mut();
        if !mail.iter().any(|known| known.will_wake(waker)) {
            mail.push(waker.clone());
        }
    }

    /// Waits until there has been work since `seen`, and returns what to pass the next time; 0 at first. Timers are
    /// no work. For chores that are due now and then while there is traffic and must not wake an idle worker.
    pub async fn work_since(&self, seen: u64) -> u64 {
        poll_fn(|cx| {
            let now = self.shared.work.get();
            if now != seen {
                return Poll::Ready(now);
            }
            let mut idlers = self.shared.idlers.borrow_mut();
            if !idlers.iter().any(|known| known.will_wake(cx.waker())) {
                idlers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    fn work_goes_on(&self) {
        self.shared.work.set(self.shared.work.get() + 1);
        if !self.shared.idlers.borrow().is_empty() {
            let waiting = std::mem::take(&mut *self.shared.idlers.borrow_mut());
            waiting.iter().for_each(Waker::wake_by_ref);
        }
    }

    pub(crate) fn remote(&self) -> Arc<Remote> {
        Arc::clone(&self.shared.remote)
    }

    /// Accepts from a bound socket.
    pub fn listen(&self, bound: &Bound) -> Listener {
        Listener::start(&self.shared.driver, bound)
    }

    /// Makes an accepted connection this worker's.
    pub fn adopt(&self, accepted: Accepted) -> Stream {
        accepted.into_stream(&self.shared.driver)
    }

    /// Whether receive buffers are consumed incrementally (Linux 6.12).
    pub fn incremental_buffers(&self) -> bool {
        self.shared.driver.incremental_buffers()
    }

    /// Counters since the start.
    pub fn stats(&self) -> CoreStats {
        CoreStats {
            driver: self.shared.driver.stats(),
            polls: self.polls(),
            tasks: self.shared.tasks.live(),
            panics: self.shared.tasks.panics(),
            timers: self.shared.driver.timers(),
            held_bytes: self.shared.driver.held_bytes(),
        }
    }

    fn polls(&self) -> u64 {
        self.shared.tasks.polls() + self.shared.counted.get()
    }
}

impl Env for Core {
    fn now(&self) -> Time {
        self.shared.driver.now()
    }

    fn wall(&self) -> SystemTime {
        wall()
    }

    fn timer(&self) -> Timer {
        Timer::new(Box::new(WheelTimer::new(&self.shared.driver)))
    }

    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        match self.shared.executor {
            Executor::Native => self.shared.tasks.spawn(task),
            Executor::Glommio => {
                let polls = Rc::clone(&self.shared.counted);
                glommio::spawn_local(Counted { future: task, polls }).detach();
            }
        }
    }

    fn random(&self) -> u64 {
        // splitmix64: fast, and good enough for spreading load.
        let state = self.shared.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.shared.random.set(state);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Connect<Stream> for Core {
    fn connect(&self, to: &[Address], timeout: Duration) -> LocalBoxFuture<'static, Result<Stream, ConnectError>> {
        let mut deadline = self.timer();
        deadline.set_after(timeout);
        Box::pin(connect::connect(Rc::clone(&self.shared.driver), to.to_vec(), deadline, self.timer()))
    }
}
