//! From a host's addresses to a connection that carries requests.

use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ringway_api::{Address, ConnCx, ConnError, ConnectError, LocalBoxFuture, Opened, UpstreamConn};

use crate::{Reach, Services};

/// [`Services::connect`] and [`Services::factory`] in one, with the stream's type erased: pools need not know it.
pub(crate) trait Dial {
    /// Connects to the first address that answers and speaks the protocol; all within `timeout`.
    fn dial(&self, reach: Rc<Reach>, timeout: Duration) -> LocalBoxFuture<'static, Result<Dialed, DialError>>;
}

pub(crate) struct Dialed {
    pub(crate) conn: Rc<dyn UpstreamConn>,
    pub(crate) cx: Rc<ConnCx>,
}

#[derive(Debug)]
pub(crate) enum DialError {
    Connect(ConnectError),
    Handshake(ConnError),
}

pub(crate) struct Dialer<I>(pub(crate) Services<I>);

impl<I: 'static> Dial for Dialer<I> {
    fn dial(&self, reach: Rc<Reach>, timeout: Duration) -> LocalBoxFuture<'static, Result<Dialed, DialError>> {
        let services = self.0.clone();
        Box::pin(async move {
            let mut timer = services.env.timer();
            timer.set_after(timeout);
            let io = services.connect.connect(&reach.addresses, timeout).await.map_err(DialError::Connect)?;
            let mut handshake = pin!(shake(&services, &reach, io));
            let outcome = std::future::poll_fn(|task| {
                if let Poll::Ready(outcome) = handshake.as_mut().poll(task) {
                    return Poll::Ready(Some(outcome));
                }
                timer.poll_expired(task).map(|()| None)
            });
            match outcome.await {
                Some(Ok(dialed)) => Ok(dialed),
                Some(Err(error)) => Err(DialError::Handshake(error)),
                None => Err(DialError::Connect(ConnectError::Timeout)),
            }
        })
    }
}

/// Security, then the protocol.
async fn shake<I: 'static>(services: &Services<I>, reach: &Reach, io: I) -> Result<Dialed, ConnError> {
    let mut opened = Opened { socket: services.env.now(), secured: None };
    let (io, tls) = match &services.secure {
        None => (io, None),
        Some(secure) => {
            let secured = secure(io, reach).await?;
            opened.secured = Some(services.env.now());
            (secured.io, Some(secured.info))
        }
    };
    let host = reach.addresses.first().cloned().unwrap_or(Address::Unix(Default::default()));
    let mut info = (services.describe)(&io, &host);
    info.tls = tls;
    info.opened = Some(opened);
    let cx = Rc::new(ConnCx::new(info, Rc::clone(&services.env)));
    let conn = (services.factory)(io, Rc::clone(&cx)).await?;
    Ok(Dialed { conn, cx })
}
