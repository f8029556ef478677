//! Checks by heartbeats.

use ringway_config::Heartbeat;

use super::*;

/// A server that reads heartbeats of so many bytes and answers each with what `answer` makes of it.
async fn beating(
    length: usize,
    answer: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static,
) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let answer = Arc::new(answer);
    server(move |mut stream| {
        let answer = Arc::clone(&answer);
        async move {
            let mut beat = vec![0; length];
            while stream.read_exact(&mut beat).await.is_ok() {
                stream.write_all(&answer(&beat)).await.ok();
            }
        }
    })
    .await
}

fn dubbo(flags: u8, status: u8, id: &[u8], body: &[u8]) -> Vec<u8> {
    [&[0xda, 0xbb, flags, status], id, &(body.len() as u32).to_be_bytes(), body].concat()
}

#[tokio::test]
async fn a_heartbeat_of_dubbo_wants_its_answer() {
    let kind = HealthCheckKind::Rpc(Heartbeat::Dubbo);
    let (address, count) = beating(17, |beat| {
        assert_eq!(beat[..4], [0xda, 0xbb, 0xe2, 0]);
        assert_eq!(beat[12..], [0, 0, 0, 1, b'N']);
        // A heartbeat of its own and an answer to somebody else come first.
        let own = dubbo(0xe2, 0, &[9; 8], b"N");
        let other = dubbo(0x22, 20, &[8; 8], b"N");
        [own, other, dubbo(0x22, 20, &beat[4..12], b"N")].concat()
    })
    .await;
    let mut world = World::checking(kind.clone(), address);
    assert_eq!(world.outcomes(3).await, ["ok"; 3]);
    assert_eq!(count.load(Relaxed), 1);

    type Answers = fn(&[u8]) -> Vec<u8>;
    let cases: [(Answers, &str); 5] = [
        (|beat| dubbo(0x22, 80, &beat[4..12], b"N"), "answered status 80"),
        (|_| dubbo(0xa2, 0, &[0; 8], &[1, b'R']), "says that it is read-only"),
        (|_| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "answered with something that is not Dubbo"),
        (|_| dubbo(0x22, 20, &[9; 8], b"N").repeat(20), "sent much, but no answer"),
        (
            |_| [&[0xda, 0xbb, 0x22, 20, 0, 0, 0, 0, 0, 0, 0, 0][..], &[0xff; 4]].concat(),
            "a frame of 4294967295 bytes where a heartbeat was expected",
        ),
    ];
    for (answer, expected) in cases {
        let (address, _) = beating(17, answer).await;
        let mut world = World::checking(kind.clone(), address);
        assert_eq!(world.outcomes(1).await, [expected]);
    }
}

/// A response of bolt to a request.
fn bolt(version: u8, beat: &[u8], command: u16, status: u16) -> Vec<u8> {
    let id = if version == 2 { &beat[6..10] } else { &beat[5..9] };
    let mut frame = if version == 2 { vec![2, 1, 0] } else { vec![1, 0] };
    frame.extend_from_slice(&command.to_be_bytes());
    frame.push(1);
    frame.extend_from_slice(id);
    frame.push(1);
    if version == 2 {
        frame.push(0);
    }
    frame.extend_from_slice(&status.to_be_bytes());
    frame.extend_from_slice(&[0; 8]);
    frame
}

#[tokio::test]
async fn a_heartbeat_of_bolt_wants_its_answer() {
    for (version, heartbeat, length) in [(1, Heartbeat::Bolt, 22), (2, Heartbeat::BoltV2, 24)] {
        let kind = HealthCheckKind::Rpc(heartbeat);
        let (address, count) = beating(length, move |beat| {
            let front: &[u8] = if version == 2 { &[2, 1, 1, 0, 0, 1] } else { &[1, 1, 0, 0, 1] };
            assert_eq!(beat[..front.len()], *front);
            assert!(beat[length - 8..].iter().all(|byte| *byte == 0));
            // The host's own heartbeat comes first: a request is no answer, whatever its id.
            [beat.to_vec(), bolt(version, beat, 0, 0)].concat()
        })
        .await;
        let mut world = World::checking(kind.clone(), address);
        assert_eq!(world.outcomes(3).await, ["ok"; 3], "version {version}");
        assert_eq!(count.load(Relaxed), 1);

        for (command, status, expected) in [(0, 4, "answered status 4"), (100, 0, "says that it is going away")] {
            let (address, _) = beating(length, move |beat| bolt(version, beat, command, status)).await;
            let mut world = World::checking(kind.clone(), address);
            assert_eq!(world.outcomes(1).await, [expected], "version {version}");
        }
        let (address, _) = beating(length, |_| vec![0x16; 64]).await;
        let mut world = World::checking(kind, address);
        assert_eq!(world.outcomes(1).await, ["answered with something that is not bolt"]);
    }
}

#[tokio::test]
async fn a_host_that_closes_without_an_answer_failed_by_the_network() {
    let (address, _) = server(|stream| async move { drop(stream) }).await;
    let mut world = World::checking(HealthCheckKind::Rpc(Heartbeat::Bolt), address);
    let outcome = world.outcomes(1).await.remove(0);
    assert!(outcome.starts_with("network: "), "{outcome}");
}
