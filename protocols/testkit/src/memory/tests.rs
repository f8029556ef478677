use super::*;
use crate::Sim;

#[test]
fn bytes_arrive_in_order_however_they_are_cut() {
    for split in [Split::AsSent, Split::Joined(7), Split::Fixed(1), Split::Random(9)] {
        let sim = Sim::new(1);
        let (mut a, mut b) = pair(PairOptions { capacity: 5, split, seed: 3, pooled: true });
        let control = b.control();
        sim.spawn(async move {
            for part in ["hello", ", ", "wide wide world"] {
                a.send(part).await.unwrap();
            }
            a.finish().await.unwrap();
        });
        let (all, error) = sim.block_on(b.recv_to_end());
        assert_eq!((all.as_slice(), error.is_none()), (&b"hello, wide wide world"[..], true), "{split:?}");
        assert!(control.waiting_peak() <= 5);
        assert_eq!(control.pooled(), 0);
    }
}

#[test]
fn closing_resetting_and_failing_look_as_on_a_socket() {
    let sim = Sim::new(1);
    let (mut a, mut b) = pair(PairOptions::default());
    sim.block_on(a.finish()).unwrap();
    assert!(sim.block_on(b.recv()).unwrap().is_none());
    sim.block_on(b.send("after half-close")).unwrap();
    assert_eq!(sim.block_on(a.recv()).unwrap().as_deref(), Some(&b"after half-close"[..]));
    b.abort();
    assert_eq!(sim.block_on(a.recv()).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert!(sim.block_on(a.send("x")).is_err(), "errors are sticky");

    let (mut a, b) = pair(PairOptions::default());
    a.control().fail_send(io::ErrorKind::TimedOut);
    assert_eq!(sim.block_on(a.send("x")).unwrap_err().kind(), io::ErrorKind::TimedOut);
    drop(b);
}

#[test]
fn what_a_closed_peer_did_not_take_is_provably_unseen() {
    let sim = Sim::new(1);
    let (mut a, b) = pair(PairOptions::default());
    sim.block_on(a.send("first")).unwrap();
    a.mark_sent();
    drop(b);
    sim.block_on(a.send("second")).unwrap();
    assert!(a.provably_unseen());

    let (mut a, b) = pair(PairOptions::default());
    a.mark_sent();
    sim.block_on(a.send("taken")).unwrap();
    drop(b);
    assert!(!a.provably_unseen());
}
