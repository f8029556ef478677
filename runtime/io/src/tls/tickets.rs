//! Session tickets (RFC 8446 section 4.6.1, RFC 5077): sessions that clients keep, sealed, so that the server does not.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use rustls::pki_types::UnixTime;
use rustls::server::ProducesTickets;
use rustls::time_provider::TimeProvider;

/// RFC 8446 section 4.6.1: no ticket may live for longer.
pub(super) const MAX_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// Seals and opens tickets for all workers, without a lock.
///
/// A ticket is `name of the key (16) | nonce (12) | sealed: time of issue (8), session | tag (16)`. Keys exist in memory
/// alone, seal for one lifetime and open for two, so that what was recorded is safe once they are gone.
pub(super) struct Tickets {
    ring: Arc<ArcSwap<Ring>>,
    lifetime: Duration,
    time: Arc<dyn TimeProvider>,
}

/// The key in use and the one before.
struct Ring {
    current: Arc<Key>,
    previous: Option<Arc<Key>>,
}

struct Key {
    name: [u8; NAME],
    made: UnixTime,
    /// Nonces are random: 2^32 tickets are safe with one key (NIST SP 800-38D), 200,000 per second for six hours.
    aead: RandomizedNonceKey,
}

const NAME: usize = 16;
const NONCE: usize = 12;
const STAMP: usize = 8;
const TAG: usize = 16;

// === impl Tickets ===

impl Tickets {
    /// New keys.
    ///
    /// # Errors
    /// The system has no randomness.
    pub(super) fn new(lifetime: Duration, time: Arc<dyn TimeProvider>) -> Result<Self, Unspecified> {
        let now = time.current_time().ok_or(Unspecified)?;
        let ring = Ring { current: Arc::new(Key::new(now)?), previous: None };
        Ok(Self { ring: Arc::new(ArcSwap::from_pointee(ring)), lifetime, time })
    }

    /// The same keys, so that either opens what the other has sealed.
    pub(super) fn sharing(&self, lifetime: Duration, time: Arc<dyn TimeProvider>) -> Self {
        Self { ring: self.ring.clone(), lifetime, time }
    }

    /// The keys, changed if it is time.
    fn ring(&self, now: UnixTime) -> Option<Arc<Ring>> {
        let ring = self.ring.load_full();
        if age(ring.current.made, now) < self.lifetime {
            return Some(ring);
        }
        let next = Arc::new(Ring {
            current: Arc::new(Key::new(now).ok()?),
            // After a quiet time even the key in use may be too old to open anything.
            previous: Some(ring.current.clone()).filter(|key| age(key.made, now) < self.lifetime * 2),
        });
        let before = self.ring.compare_and_swap(&ring, next.clone());
        // Another worker was first: its key is the one.
        Some(if Arc::ptr_eq(&before, &ring) { next } else { self.ring.load_full() })
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.lifetime.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        let now = self.time.current_time()?;
        let key = self.ring(now)?.current.clone();
        let mut sealed = Vec::with_capacity(STAMP + session.len() + TAG);
        sealed.extend_from_slice(&now.as_secs().to_be_bytes());
        sealed.extend_from_slice(session);
        let nonce = key.aead.seal_in_place_append_tag(Aad::from(key.name), &mut sealed).ok()?;
        Some([&key.name[..], nonce.as_ref(), &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let now = self.time.current_time()?;
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>()?;
        let ring = self.ring(now)?;
        let key = [Some(&ring.current), ring.previous.as_ref()].into_iter().flatten().find(|key| key.name == *name)?;
        let mut opened = sealed.to_vec();
        let length = key.aead.open_in_place(Nonce::from(nonce), Aad::from(*name), &mut opened).ok()?.len();
        opened.truncate(length);
        let (stamp, _) = opened.split_first_chunk::<STAMP>()?;
        let issued = UnixTime::since_unix_epoch(Duration::from_secs(u64::from_be_bytes(*stamp)));
        (age(issued, now) <= self.lifetime).then(|| opened.split_off(STAMP))
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

// === impl Key ===

impl Key {
    fn new(now: UnixTime) -> Result<Self, Unspecified> {
        let (mut name, mut secret) = ([0; NAME], [0; 32]);
        rand::fill(&mut name)?;
        rand::fill(&mut secret)?;
        Ok(Self { name, made: now, aead: RandomizedNonceKey::new(&AES_256_GCM, &secret)? })
    }
}

/// None, if the clock was set back.
fn age(then: UnixTime, now: UnixTime) -> Duration {
    Duration::from_secs(now.as_secs().saturating_sub(then.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Clock;
    use super::*;

    fn tickets(clock: &Clock) -> Tickets {
        Tickets::new(Duration::from_secs(100), Arc::new(clock.clone())).unwrap()
    }

    #[test]
    fn a_ticket_opens_for_its_lifetime_across_one_change_of_keys() {
        let clock = Clock::default();
        let tickets = tickets(&clock);
        let first = tickets.encrypt(b"one").unwrap();
        clock.advance(90);
        let late = tickets.encrypt(b"two").unwrap();
        assert_eq!(first[..NAME], late[..NAME]);
        clock.advance(10);
        assert_eq!(tickets.decrypt(&first).as_deref(), Some(&b"one"[..]));
        assert_ne!(tickets.encrypt(b"three").unwrap()[..NAME], late[..NAME]);
        clock.advance(1);
        assert_eq!(tickets.decrypt(&first), None, "older than its lifetime");
        clock.advance(89);
        assert_eq!(tickets.decrypt(&late).as_deref(), Some(&b"two"[..]), "sealed with the key before");
        clock.advance(1);
        assert_eq!(tickets.decrypt(&late), None);
    }

    #[test]
    fn a_key_that_is_too_old_is_not_kept() {
        let clock = Clock::default();
        let tickets = tickets(&clock);
        tickets.encrypt(b"one").unwrap();
        clock.advance(1000);
        tickets.encrypt(b"two").unwrap();
        assert!(tickets.ring.load().previous.is_none());
    }

    #[test]
    fn what_was_tampered_with_or_is_foreign_stays_shut() {
        let clock = Clock::default();
        let (ours, theirs) = (tickets(&clock), tickets(&clock));
        let ticket = ours.encrypt(b"session").unwrap();
        assert_eq!(ticket.len(), NAME + NONCE + STAMP + 7 + TAG);
        assert_eq!(theirs.decrypt(&ticket), None);
        for i in 0..ticket.len() {
            let mut bad = ticket.clone();
            bad[i] ^= 1;
            assert_eq!(ours.decrypt(&bad), None, "byte {i}");
            assert_eq!(ours.decrypt(&ticket[..i]), None, "cut at {i}");
        }
        assert_ne!(ours.encrypt(b"session").unwrap(), ticket, "no nonce twice");
    }

    #[test]
    fn workers_that_change_keys_at_once_agree_on_one() {
        let clock = Clock::default();
        let tickets = tickets(&clock);
        clock.advance(150);
        let sealed: Vec<_> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..8).map(|_| scope.spawn(|| tickets.encrypt(b"session").unwrap())).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).collect()
        });
        for ticket in sealed {
            assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        }
    }
}
