//! What the kernel gives back with a completion: which operation of which socket it is of.

/// Which operation a completion is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Accept,
    Connect,
    Recv,
    Send,
    Fin,
}

/// Which socket of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Side {
    Down = 0,
    Up = 1,
}

/// An operation of a pair. The generation tells a pair from the one that had its place before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) side: Side,
    pub(crate) generation: u16,
    pub(crate) index: u32,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Down => Self::Up,
            Self::Up => Self::Down,
        }
    }
}

impl Token {
    /// The listener's accept.
    pub(crate) const ACCEPT: Self = Self { kind: Kind::Accept, side: Side::Down, generation: 0, index: 0 };

    pub(crate) fn with(self, kind: Kind, side: Side) -> Self {
        Self { kind, side, ..self }
    }

    /// As a number; the ring keeps the highest bit for itself.
    pub(crate) fn pack(self) -> u64 {
        (self.kind as u64) << 56 | (self.side as u64) << 48 | u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub(crate) fn unpack(token: u64) -> Self {
        let kind = match token >> 56 {
            0 => Kind::Accept,
            1 => Kind::Connect,
            2 => Kind::Recv,
            3 => Kind::Send,
            _ => Kind::Fin,
        };
        let side = if token >> 48 & 1 == 0 { Side::Down } else { Side::Up };
        Self { kind, side, generation: (token >> 32) as u16, index: token as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_keeps_everything() {
        for kind in [Kind::Accept, Kind::Connect, Kind::Recv, Kind::Send, Kind::Fin] {
            for side in [Side::Down, Side::Up] {
                let token = Token { kind, side, generation: u16::MAX, index: 70_000 };
                assert_eq!(Token::unpack(token.pack()), token);
                assert_eq!(token.pack() >> 63, 0);
            }
        }
        assert_eq!(Side::Down.other(), Side::Up);
    }
}
