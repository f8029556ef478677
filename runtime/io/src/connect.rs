//! Outgoing connections: one after another or racing, whichever answers first (RFC 8305).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringway_api::{Address, ConnectError, Timer};
use socket2::{Domain, SockAddr, Socket as Socket2, Type};

use crate::driver::Driver;
use crate::slots::{Kind, Slot, SlotId};
use crate::socket::Interest;
use crate::stream::Stream;

/// RFC 8305, section 5: the delay before the next attempt starts beside one that has not answered.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// What the driver keeps for an attempt.
pub(crate) struct Connecting {
    socket: Option<OwnedFd>,
    result: Option<Result<(), i32>>,
    pub(crate) connector: Interest,
    abandoned: bool,
}

impl Connecting {
    /// Notes the result; false when nobody wants it any more.
    pub(crate) fn completed(&mut self, result: Result<u32, i32>) -> bool {
        self.result = Some(result.map(drop));
        self.connector.wake();
        !self.abandoned
    }
}

/// Connects to the first address that answers. Addresses of the two families are tried in turn, beginning with the
/// family of the first.
pub(crate) async fn connect(
    driver: Rc<Driver>,
    to: Vec<Address>,
    mut deadline: Timer,
    mut stagger: Timer,
) -> Result<Stream, ConnectError> {
    let mut waiting = interleave(to).into_iter();
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "no address to connect to");
    let mut begin = true;
    std::future::poll_fn(|cx| {
        loop {
            while std::mem::take(&mut begin) || attempts.is_empty() {
                let Some(address) = waiting.next() else { break };
                match Attempt::start(&driver, &address) {
                    Ok(attempt) => {
                        attempts.push(attempt);
                        stagger.set_after(ATTEMPT_DELAY);
                    }
                    Err(error) => last = error,
                }
            }
            let mut at = 0;
            while let Some(attempt) = attempts.get_mut(at) {
                match attempt.poll(cx) {
                    Poll::Ready(Ok(stream)) => return Poll::Ready(Ok(stream)),
                    Poll::Ready(Err(error)) => {
                        last = error;
                        drop(attempts.remove(at));
                        begin = true;
                    }
                    Poll::Pending => at += 1,
                }
            }
            if attempts.is_empty() && waiting.len() == 0 {
                return Poll::Ready(Err(ConnectError::Failed(std::mem::replace(
                    &mut last,
                    io::ErrorKind::Other.into(),
                ))));
            }
            if begin && waiting.len() > 0 {
                continue;
            }
            begin = false;
            if deadline.poll_expired(cx).is_ready() {
                return Poll::Ready(Err(ConnectError::Timeout));
            }
            if waiting.len() > 0 && stagger.poll_expired(cx).is_ready() {
                begin = true;
                continue;
            }
            return Poll::Pending;
        }
    })
    .await
}

/// RFC 8305, section 4: families alternate, so that a broken one costs one delay.
fn interleave(addresses: Vec<Address>) -> Vec<Address> {
    let is_v6 = |address: &Address| address.ip().is_some_and(|ip| ip.is_ipv6());
    let Some(first) = addresses.first().map(is_v6) else { return addresses };
    let (ours, theirs): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| is_v6(address) == first);
    let (mut ours, mut theirs) = (ours.into_iter(), theirs.into_iter());
    let mut order = Vec::with_capacity(ours.len() + theirs.len());
    while ours.len() + theirs.len() > 0 {
        order.extend(ours.next());
        order.extend(theirs.next());
    }
    order
}

struct Attempt {
    driver: Rc<Driver>,
    id: SlotId,
}

impl Attempt {
    fn start(driver: &Rc<Driver>, to: &Address) -> io::Result<Self> {
        let (socket, addr) = match to {
            Address::Ip(ip) => {
                let socket = Socket2::new(Domain::for_address(*ip), Type::STREAM.cloexec(), None)?;
                socket.set_tcp_nodelay(true)?;
                (socket, SockAddr::from(*ip))
            }
            Address::Unix(path) => (Socket2::new(Domain::UNIX, Type::STREAM.cloexec(), None)?, SockAddr::unix(path)?),
        };
        let fd = socket.as_raw_fd();
        let connecting = Connecting {
            socket: Some(OwnedFd::from(socket)),
            result: None,
            connector: Interest::default(),
            abandoned: false,
        };
        let id = driver.add(Slot::Connect(Box::new(connecting)));
        driver.start(id, |ring, id| ring.connect(fd, &addr, id.token(Kind::Connect)));
        Ok(Self { driver: Rc::clone(driver), id })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let polled = self.driver.with_slot(self.id, |slot| {
            let Slot::Connect(connect) = slot else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
            match connect.result {
                None => {
                    connect.connector.register(cx);
                    Poll::Pending
                }
                Some(Err(error)) => Poll::Ready(Err(io::Error::from_raw_os_error(error))),
                Some(Ok(())) => Poll::Ready(connect.socket.take().ok_or(io::ErrorKind::NotConnected.into())),
            }
        });
        match polled {
            Some(Poll::Pending) => Poll::Pending,
            Some(Poll::Ready(done)) => Poll::Ready(done.map(|socket| Stream::new(&self.driver, socket))),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let fd = self.driver.with_slot(self.id, |slot| match slot {
            Slot::Connect(connect) if connect.result.is_none() => {
                connect.abandoned = true;
                connect.connector.forget();
                connect.socket.as_ref().map(AsRawFd::as_raw_fd)
            }
            _ => None,
        });
        match fd {
            // Under way: its memory is the kernel's until the completion, which frees the slot.
            Some(Some(fd)) => self.driver.cancel_fd(fd),
            Some(None) => self.driver.free(self.id),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate_from_the_first() {
        let address = |text: &str| Address::Ip(text.parse().unwrap());
        let [a, b, c, d] = ["[::1]:1", "[::2]:1", "1.1.1.1:1", "[::3]:1"].map(address);
        assert_eq!(interleave(vec![a.clone(), b.clone(), c.clone(), d.clone()]), [a, c, b, d]);
    }
}
