//! Puts a head together that does not lie in one chunk.

use ringway_api::Chunk;

/// Takes received chunks until a head is whole. The usual head is whole in its first chunk and is not copied.
#[derive(Debug, Default)]
pub struct Assembler {
    gathered: Option<Box<Gathered>>,
}

#[derive(Debug)]
struct Gathered {
    bytes: Vec<u8>,
    /// How much had been gathered at the last try.
    tried: usize,
}

impl Assembler {
    /// Nothing gathered, no memory.
    pub const fn new() -> Self {
        Self { gathered: None }
    }

    /// True when part of a head has been gathered.
    pub fn is_partial(&self) -> bool {
        self.gathered.is_some()
    }

    /// Tries `decode` on what was gathered and `inbox`, which is emptied unless the head ends in it; then it holds
    /// what follows the head. Reads each byte a bounded number of times, however small the pieces are.
    ///
    /// # Errors
    /// Those of `decode`, which must fail for a head without end once it is longer than its limit.
    pub fn decode<T, E>(
        &mut self,
        inbox: &mut Chunk,
        mut decode: impl FnMut(&Chunk) -> Result<Option<(T, usize)>, E>,
    ) -> Result<Option<T>, E> {
        let Some(gathered) = &mut self.gathered else {
            if let Some((parts, len)) = decode(inbox)? {
                inbox.advance(len);
                return Ok(Some(parts));
            }
            if !inbox.is_empty() {
                let bytes = std::mem::take(inbox).to_vec();
                self.gathered = Some(Box::new(Gathered { tried: bytes.len(), bytes }));
            }
            return Ok(None);
        };
        let seen = gathered.bytes.len();
        gathered.bytes.extend_from_slice(inbox);
        *inbox = Chunk::EMPTY;
        if !gathered.worth_trying(seen) {
            return Ok(None);
        }
        let block = Chunk::from(std::mem::take(&mut gathered.bytes));
        match decode(&block)? {
            Some((parts, len)) => {
                self.gathered = None;
                *inbox = block;
                inbox.advance(len);
                Ok(Some(parts))
            }
            None => {
                // Tries are as rare as the doubling of what there is, or follow an empty line: the copy is paid for.
                gathered.bytes = block.to_vec();
                gathered.tried = gathered.bytes.len();
                Ok(None)
            }
        }
    }

    /// Drops what was gathered.
    pub fn clear(&mut self) {
        self.gathered = None;
    }
}

impl Gathered {
    /// Whether the bytes from `seen` on may have ended a head, or there are so many that faults and limits should be
    /// looked for.
    fn worth_trying(&self, seen: usize) -> bool {
        // Small beginnings double quickly; a first fault should not wait for the head's end.
        if self.bytes.len() >= self.tried.saturating_mul(2).max(self.tried + 64) {
            return true;
        }
        let from = seen.saturating_sub(3);
        let tail = self.bytes.get(from..).unwrap_or_default();
        // Two line ends in a row, bare or not: the strict decoder judges which.
        tail.windows(2).any(|w| w == b"\n\n") || tail.windows(3).any(|w| w == b"\n\r\n")
    }
}
