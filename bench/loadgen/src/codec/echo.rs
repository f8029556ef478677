//! TCP: so many bytes out, the same bytes back.

use ringway_api::{Chunk, ChunkQueue};

use super::{Codec, Fault, Outcome, Prepared};
use crate::request::Request;

/// What is sent when no body is given.
const DEFAULT: usize = 64;

/// One message at a time.
#[derive(Default)]
pub(super) struct Echo {
    expected: Chunk,
    tag: u32,
    got: usize,
}

pub(super) fn prepare(request: &Request) -> Prepared {
    let body = if request.body.is_empty() { vec![b'x'; DEFAULT] } else { request.body.clone() };
    Prepared { head: Chunk::from(body), ..Prepared::default() }
}

impl Codec for Echo {
    fn room(&self) -> usize {
        usize::from(self.expected.is_empty())
    }

    fn send(&mut self, request: &Prepared, tag: u32, out: &mut ChunkQueue) {
        (self.expected, self.tag, self.got) = (request.head.clone(), tag, 0);
        out.push(request.head.clone());
    }

    fn receive(
        &mut self,
        bytes: &[u8],
        _out: &mut ChunkQueue,
        done: &mut Vec<(u32, Outcome, usize)>,
    ) -> Result<(), Fault> {
        if self.expected.get(self.got..self.got + bytes.len()) != Some(bytes) {
            return Err(Fault("bytes came back that were not sent".into()));
        }
        self.got += bytes.len();
        if self.got == self.expected.len() {
            done.push((self.tag, Outcome::Good, self.got));
            self.expected = Chunk::default();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_bytes_are_an_answer() {
        let mut codec = Echo::default();
        let (mut out, mut done) = (ChunkQueue::new(), Vec::new());
        let request = prepare(&Request { body: b"hello".to_vec(), ..Request::default() });
        codec.send(&request, 3, &mut out);
        codec.receive(b"he", &mut out, &mut done).unwrap();
        assert_eq!((codec.room(), done.len()), (0, 0));
        codec.receive(b"llo", &mut out, &mut done).unwrap();
        assert_eq!(done, [(3, Outcome::Good, 5)]);
        assert!(codec.receive(b"!", &mut out, &mut done).is_err());
    }
}
