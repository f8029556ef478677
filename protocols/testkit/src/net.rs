//! A network whose far ends are handed to the test.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use ringway_api::{Address, Connect, ConnectError, Env, LocalBoxFuture};

use crate::{MemoryIo, PairOptions, pair};

/// What becomes of an attempt to connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NetMode {
    /// It succeeds at once.
    #[default]
    Accept,
    /// It is refused at once.
    Refuse,
    /// It waits for its timeout.
    Hang,
}

/// Connects to nowhere: the other end of each connection waits for [`MemoryNet::accept`].
pub struct MemoryNet {
    env: Rc<dyn Env>,
    state: Rc<State>,
}

struct State {
    options: Cell<PairOptions>,
    mode: Cell<NetMode>,
    attempts: Cell<usize>,
    waiting: RefCell<VecDeque<(Vec<Address>, MemoryIo)>>,
    waker: RefCell<Option<Waker>>,
}

impl MemoryNet {
    /// A network whose connections are like `options`.
    pub fn new(env: Rc<dyn Env>, options: PairOptions) -> Self {
        let state = State {
            options: Cell::new(options),
            mode: Cell::default(),
            attempts: Cell::new(0),
            waiting: RefCell::default(),
            waker: RefCell::default(),
        };
        Self { env, state: Rc::new(state) }
    }

    /// What becomes of attempts from now on.
    pub fn set_mode(&self, mode: NetMode) {
        self.state.mode.set(mode);
    }

    /// Attempts so far.
    pub fn attempts(&self) -> usize {
        self.state.attempts.get()
    }

    /// The far end of the next connection, and what was asked for.
    pub async fn accept(&self) -> (Vec<Address>, MemoryIo) {
        poll_fn(|cx| match self.state.waiting.borrow_mut().pop_front() {
            Some(accepted) => Poll::Ready(accepted),
            None => {
                *self.state.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// The far end of a connection that is already there.
    pub fn try_accept(&self) -> Option<MemoryIo> {
        self.state.waiting.borrow_mut().pop_front().map(|(_, io)| io)
    }
}

impl Connect<MemoryIo> for MemoryNet {
    fn connect(&self, to: &[Address], timeout: Duration) -> LocalBoxFuture<'static, Result<MemoryIo, ConnectError>> {
        let (state, to, mut timer) = (Rc::clone(&self.state), to.to_vec(), self.env.timer());
        Box::pin(async move {
            state.attempts.set(state.attempts.get() + 1);
            match state.mode.get() {
                NetMode::Accept => {
                    let options = state.options.get();
                    // Each connection cuts its bytes differently, and every run does so alike.
                    state.options.set(PairOptions { seed: options.seed.wrapping_add(1), ..options });
                    let (near, far) = pair(options);
                    state.waiting.borrow_mut().push_back((to, far));
                    if let Some(waker) = state.waker.borrow_mut().take() {
                        waker.wake();
                    }
                    Ok(near)
                }
                NetMode::Refuse => Err(ConnectError::Failed(io::ErrorKind::ConnectionRefused.into())),
                NetMode::Hang => {
                    timer.set_after(timeout);
                    timer.expired().await;
                    Err(ConnectError::Timeout)
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sim;

    #[test]
    fn attempts_end_as_the_mode_says() {
        let sim = Sim::new(1);
        let net = MemoryNet::new(sim.env(), PairOptions::default());
        let to = [Address::Unix("/x".into())];
        let second = Duration::from_secs(1);
        let mut near = sim.block_on(net.connect(&to, second)).unwrap();
        let (asked, mut far) = sim.block_on(net.accept());
        assert_eq!(asked, to);
        sim.block_on(near.send("hi")).unwrap();
        assert_eq!(far.recv_now(), b"hi");
        net.set_mode(NetMode::Refuse);
        assert!(matches!(sim.block_on(net.connect(&to, second)), Err(ConnectError::Failed(_))));
        net.set_mode(NetMode::Hang);
        let before = Env::now(&sim);
        assert!(matches!(sim.block_on(net.connect(&to, second)), Err(ConnectError::Timeout)));
        assert_eq!(Env::now(&sim).since(before), second);
        assert_eq!(net.attempts(), 3);
        assert!(net.try_accept().is_none());
    }
}
