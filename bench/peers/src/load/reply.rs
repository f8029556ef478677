//! Reads one reply after another from whatever pieces the socket gives.

use crate::message;

/// What a correct reply looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expect {
    /// An HTTP/1.1 200 with a content-length of this many bytes.
    Http(u64),
    /// This many bytes, whatever they are.
    Fixed(u64),
}

/// Where the reply stands after a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Partial,
    /// Complete; `close` when the peer will close the connection.
    Complete {
        close: bool,
    },
}

/// The state of one connection's current reply.
#[derive(Debug, Default)]
pub(crate) struct ReplyReader {
    /// A head of which only a part has come.
    head: Vec<u8>,
    /// Body bytes still to come; `None` while the head is incomplete.
    left: Option<u64>,
    close: bool,
}

impl ReplyReader {
    /// Takes the next bytes. Bytes past the end of the reply are an error: nothing was asked after it.
    pub(crate) fn feed(&mut self, expect: Expect, bytes: &[u8]) -> Result<Progress, String> {
        let body = match (self.left, expect) {
            (Some(left), _) => return self.take(left, bytes.len() as u64),
            (None, Expect::Fixed(size)) => return self.take(size, bytes.len() as u64),
            (None, Expect::Http(body)) => body,
        };
        let buffered = !self.head.is_empty();
        if buffered {
            self.head.extend_from_slice(bytes);
        }
        let source = if buffered { &self.head } else { bytes };
        let Some(head) = message::parse_reply(source)? else {
            if !buffered {
                self.head.extend_from_slice(bytes);
            }
            return Ok(Progress::Partial);
        };
        if head.status != 200 {
            return Err(format!("status {}", head.status));
        }
        if head.length != Some(body) {
            return Err(format!("content-length {:?} instead of {body}", head.length));
        }
        let past_head = (source.len() - head.head_len) as u64;
        self.close = head.close;
        self.head.clear();
        self.take(body, past_head)
    }

    fn take(&mut self, left: u64, got: u64) -> Result<Progress, String> {
        match left.checked_sub(got) {
            None => Err(format!("{} bytes after the reply", got - left)),
            Some(0) => {
                self.left = None;
                Ok(Progress::Complete { close: std::mem::take(&mut self.close) })
            }
            more => {
                self.left = more;
                Ok(Progress::Partial)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_at_every_split() {
        let bytes = message::reply(100);
        for cut in 1..bytes.len() {
            let mut reader = ReplyReader::default();
            let expect = Expect::Http(100);
            for _ in 0..2 {
                assert_eq!(reader.feed(expect, &bytes[..cut]), Ok(Progress::Partial), "cut at {cut}");
                assert_eq!(reader.feed(expect, &bytes[cut..]), Ok(Progress::Complete { close: false }), "cut at {cut}");
            }
        }
    }

    #[test]
    fn byte_by_byte() {
        let mut reader = ReplyReader::default();
        let bytes = message::reply(3);
        let results: Vec<_> = bytes.iter().map(|b| reader.feed(Expect::Http(3), &[*b]).unwrap()).collect();
        let (last, before) = results.split_last().unwrap();
        assert_eq!(*last, Progress::Complete { close: false });
        assert!(before.iter().all(|p| *p == Progress::Partial));
    }

    #[test]
    fn wrong_replies_are_errors() {
        let feed = |bytes: &[u8]| ReplyReader::default().feed(Expect::Http(2), bytes);
        assert!(feed(b"HTTP/1.1 502 x\r\ncontent-length: 2\r\n\r\nok").is_err());
        assert!(feed(b"HTTP/1.1 200 x\r\ncontent-length: 3\r\n\r\nok").is_err());
        assert!(feed(b"HTTP/1.1 200 x\r\ncontent-length: 2\r\n\r\nok!").is_err());
        assert_eq!(
            feed(b"HTTP/1.1 200 x\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"),
            Ok(Progress::Complete { close: true })
        );
    }

    #[test]
    fn fixed_messages() {
        let mut reader = ReplyReader::default();
        assert_eq!(reader.feed(Expect::Fixed(4), b"abc"), Ok(Progress::Partial));
        assert_eq!(reader.feed(Expect::Fixed(4), b"d"), Ok(Progress::Complete { close: false }));
        assert!(reader.feed(Expect::Fixed(4), b"abcde").is_err());
    }
}
