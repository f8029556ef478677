//! An exchange that has become a tunnel (RFC 9110, sections 7.8 and 9.3.6).

use std::rc::Rc;
use std::task::{Context, Poll};

use ringway_api::{ChunkQueue, Io};

use super::{Http1Exchange, Sending};
use crate::body::Decoder;
use crate::encode::{ContentWriter, poll_content};

impl<I: Io> Http1Exchange<I> {
    /// Passes the end of a tunnel's way up on.
    pub(super) fn end_tunnel(&mut self, cx: &mut Context<'_>) {
        if self.tunnel.is_some() && matches!(self.decoder, Decoder::UntilClose) {
            // A failure shows on the way down too.
            drop(self.link.io.borrow_mut().poll_shutdown(cx));
        }
    }

    /// The upstream has ended its side of a tunnel, which ends the response; what still goes up does so without it.
    pub(super) fn finish_tunnel(&mut self) {
        if self.tunnel.take().is_none() || self.sending != Sending::Active {
            return;
        }
        let placeholder = ContentWriter::tunnel(Vec::new(), self.link.options.header_case, ChunkQueue::new());
        let mut writer = std::mem::replace(&mut self.writer, placeholder);
        let mut body = std::mem::take(&mut self.body);
        let link = Rc::clone(&self.link);
        let (mut timer, limit) = (link.conn.env.timer(), link.options.stream_idle_timeout.limit());
        timer.set_limit(limit);
        self.link.conn.env.spawn(Box::pin(async move {
            let ended = std::future::poll_fn(|cx| {
                let sent = poll_content(cx, &mut writer, &mut body, |cx, out| link.io.borrow_mut().poll_send(cx, out));
                if std::mem::take(&mut writer.moved) {
                    timer.set_limit(limit);
                }
                let ended = match sent {
                    Poll::Ready(Ok(())) => link.io.borrow_mut().poll_shutdown(cx).map(|ended| ended.is_ok()),
                    Poll::Ready(Err(_)) => Poll::Ready(false),
                    Poll::Pending => Poll::Pending,
                };
                if ended.is_pending() { timer.poll_expired(cx).map(|()| false) } else { ended }
            });
            if !ended.await {
                link.io.borrow_mut().abort();
            }
        }));
    }
}
