//! Raw connections.

use ringway_api::{Address, ConnectError};
use ringway_upstream::{AcquireError, Breaker, CloseCause, Cluster, RawLease, Want};

use crate::net::{Mode, Stream};
use crate::world::{CONNECT_TIMEOUT, World, address, limited, params};

type Outcome = Result<(Stream, RawLease), AcquireError>;

/// Connects to a picked host in a task; what became of it is there once it is known.
fn connect(world: &World, cluster: &std::rc::Rc<Cluster<Stream>>) -> std::rc::Rc<std::cell::RefCell<Option<Outcome>>> {
    use ringway_api::Env;
    let place = std::rc::Rc::new(std::cell::RefCell::new(None));
    let (cluster, result) = (std::rc::Rc::clone(cluster), std::rc::Rc::clone(&place));
    world.env.spawn(Box::pin(async move {
        let host = cluster.pick(Want::default()).unwrap();
        let outcome = cluster.connect_raw(&host).await;
        *result.borrow_mut() = Some(outcome);
    }));
    world.env.run();
    place
}

#[test]
fn a_raw_connection_is_counted_until_its_lease_ends() {
    let world = World::new();
    let cluster = world.cluster(params([1]));
    let (stream, lease) = connect(&world, &cluster).take().unwrap().unwrap();
    assert_eq!((&stream.to, lease.host().address()), (&address(1), &address(1)));
    let report = &cluster.report()[0];
    assert_eq!((report.connections_active, report.requests_active), (1, 1));
    drop((stream, lease));
    let report = &cluster.report()[0];
    assert_eq!((report.connections_active, report.requests_active, report.connections_total), (0, 0, 1));
    assert_eq!(world.tally.closed(CloseCause::Released), 1);
    drop(cluster);
    world.assert_quiet();
}

#[test]
fn past_the_limit_a_raw_connection_is_refused() {
    let world = World::new();
    let cluster = world.cluster(limited(1, 10, 10));
    let first = connect(&world, &cluster).take().unwrap().unwrap();
    let second = connect(&world, &cluster).take().unwrap();
    assert!(matches!(second, Err(AcquireError::Overflow(Breaker::Connections))));
    assert_eq!(world.tally.connection_overflow.get(), 1);
    drop(first);
    assert!(connect(&world, &cluster).take().unwrap().is_ok());
}

#[test]
fn failures_name_the_host_and_leave_nothing() {
    let world = World::new();
    let cluster = world.cluster(params([1]));
    world.net.mode.set(Mode::Refuse);
    let refused = connect(&world, &cluster).take().unwrap().unwrap_err();
    assert!(matches!(&refused, AcquireError::Connect { host: Address::Ip(_), cause: ConnectError::Failed(_) }));
    world.net.mode.set(Mode::Hold);
    let place = connect(&world, &cluster);
    world.env.advance(CONNECT_TIMEOUT);
    let slow = place.take().unwrap().unwrap_err();
    assert!(matches!(slow, AcquireError::Connect { cause: ConnectError::Timeout, .. }));
    assert_eq!((world.tally.failed.get(), world.tally.timed_out.get()), (1, 1));
    assert_eq!(cluster.hosts()[0].active(), 0);
    drop(cluster);
    world.assert_quiet();
}

#[test]
fn a_host_without_a_connection_is_avoided_for_a_moment() {
    let world = World::new();
    let cluster = world.cluster(params([1, 2]));
    let picks =
        |host: u8| (0..100).filter(|_| cluster.pick(Want::default()).unwrap().address() == &address(host)).count();
    assert_eq!((picks(1), picks(2)), (50, 50));
    world.net.mode.set(Mode::Refuse);
    let refused = connect(&world, &cluster).take().unwrap().unwrap_err();
    let AcquireError::Connect { host, .. } = refused else { panic!("{refused:?}") };
    let (ill, well) = if host == address(1) { (1, 2) } else { (2, 1) };
    assert_eq!((picks(ill), picks(well)), (0, 100));
    world.env.advance(std::time::Duration::from_millis(100));
    assert_eq!(picks(ill), 50, "it has another chance");
}
