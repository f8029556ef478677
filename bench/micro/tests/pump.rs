//! The raw pump from outside: what goes in at one end comes out at the other, whatever the ends do.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

/// No step takes as long; a test that hangs fails instead.
const LIMIT: Duration = Duration::from_secs(30);

struct Pump {
    process: Child,
    address: SocketAddr,
    upstream: TcpListener,
}

impl Pump {
    fn start() -> Self {
        Self::start_with("exec \"$0\" \"$@\"")
    }

    /// Starts it by a shell script, which may set limits.
    fn start_with(script: &str) -> Self {
        let upstream = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = upstream.local_addr().unwrap().to_string();
        let mut process = Command::new("sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_pump"), "--listen", "127.0.0.1:0", "--upstream", &to])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().parse().unwrap();
        Self { process, address, upstream }
    }

    /// Both ends of one pumped connection: the client's, then the upstream's.
    fn pair(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(self.address).unwrap();
        let (upstream, _) = self.upstream.accept().unwrap();
        for stream in [&client, &upstream] {
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            stream.set_write_timeout(Some(LIMIT)).unwrap();
        }
        (client, upstream)
    }

    /// The most memory that it ever had, in bytes.
    fn peak_memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Random bytes that the same seed gives again.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(seed: u64, len: usize) -> Vec<u8> {
        let mut noise = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&noise.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

/// Writes in pieces of all sizes, then ends the stream.
fn write_pieces(mut stream: TcpStream, bytes: Vec<u8>, seed: u64) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut noise = Noise(seed | 1);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let bits = 1 + noise.next() % 17;
            let (piece, after) = rest.split_at((1 + noise.next() as usize % (1 << bits)).min(rest.len()));
            stream.write_all(piece).unwrap();
            rest = after;
        }
        stream.shutdown(Shutdown::Write).unwrap();
    })
}

fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

fn assert_same(got: &[u8], wanted: &[u8]) {
    let differs = got.iter().zip(wanted).position(|(a, b)| a != b);
    assert!(got.len() == wanted.len() && differs.is_none(), "{} of {} bytes, {differs:?}", got.len(), wanted.len());
}

#[test]
fn both_ways_at_once_on_many_connections() {
    let pump = Pump::start();
    let ends: Vec<_> = (0..60).map(|_| pump.pair()).collect();
    let readers: Vec<_> = ends
        .into_iter()
        .enumerate()
        .flat_map(|(at, (client, upstream))| {
            let (seed, len) = (at as u64 * 2 + 7, if at % 10 == 0 { 4 << 20 } else { at * 1000 });
            let (up, down) = (Noise::bytes(seed, len), Noise::bytes(seed + 1, len + 1));
            let writers = [
                write_pieces(client.try_clone().unwrap(), up.clone(), seed),
                write_pieces(upstream.try_clone().unwrap(), down.clone(), seed + 1),
            ];
            [(client, down), (upstream, up)].into_iter().zip(writers)
        })
        .map(|((mut stream, wanted), writer)| {
            thread::spawn(move || {
                assert_same(&read_all(&mut stream), &wanted);
                writer.join().unwrap();
            })
        })
        .collect();
    for reader in readers {
        reader.join().unwrap();
    }
}

#[test]
fn one_direction_goes_on_after_the_other_has_ended() {
    let pump = Pump::start();
    for turn in 0..20 {
        let (client, upstream) = pump.pair();
        let (mut first, mut second) = if turn % 2 == 0 { (client, upstream) } else { (upstream, client) };
        let (there, back) = (Noise::bytes(turn, 100_000), Noise::bytes(turn + 50, 300_000));
        let writer = write_pieces(first.try_clone().unwrap(), there.clone(), turn);
        assert_same(&read_all(&mut second), &there);
        writer.join().unwrap();
        // Only now, with that direction ended, does the other begin.
        let writer = write_pieces(second, back.clone(), turn);
        assert_same(&read_all(&mut first), &back);
        writer.join().unwrap();
    }
}

#[test]
fn a_slow_reader_holds_up_its_writer_and_nobody_else() {
    const SLOW: usize = 12;
    let pump = Pump::start();
    let stalled: Vec<_> = (0..SLOW)
        .map(|seed| {
            let (client, mut upstream) = pump.pair();
            SockRef::from(&client).set_recv_buffer_size(32 << 10).unwrap();
            SockRef::from(&upstream).set_send_buffer_size(32 << 10).unwrap();
            upstream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
            let writer = thread::spawn(move || {
                let bytes = Noise::bytes(seed as u64, 1_000_003).repeat(48);
                let mut written = 0;
                while written < bytes.len() {
                    match upstream.write(&bytes[written..]) {
                        Ok(count) => written += count,
                        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                        Err(error) => panic!("{error}"),
                    }
                }
                upstream.shutdown(Shutdown::Write).unwrap();
                (written, bytes)
            });
            (client, writer)
        })
        .collect();
    let (mut client, mut upstream) = pump.pair();
    for turn in 0..200 {
        let message = Noise::bytes(turn, 1000);
        client.write_all(&message).unwrap();
        let mut got = vec![0; message.len()];
        upstream.read_exact(&mut got).unwrap();
        assert_same(&got, &message);
    }
    let stalled: Vec<_> = stalled.into_iter().map(|(client, writer)| (client, writer.join().unwrap())).collect();
    // What is not with the pump is in the kernel's buffers of its two sockets, whose limits are the system's.
    let peak = pump.peak_memory();
    assert!(peak < SLOW * (512 << 10) + (48 << 20), "{peak} bytes");
    for (mut client, (written, bytes)) in stalled {
        assert!(written < bytes.len(), "all {written} bytes went somewhere");
        assert_same(&read_all(&mut client), &bytes[..written]);
    }
}

#[test]
fn a_reset_closes_the_other_end_also_in_the_middle_of_a_send() {
    // A pair that stayed would keep two descriptors, and 22 are not enough for all turns.
    let pump = Pump::start_with("ulimit -n 22; exec \"$0\" \"$@\"");
    for turn in 0..16 {
        let (client, upstream) = pump.pair();
        let (reads_not, mut writes) = if turn % 2 == 0 { (client, upstream) } else { (upstream, client) };
        // The pump is left with a send that has got half-way, and a paused receive.
        writes.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
        let bytes = [7; 1 << 16];
        while writes.write(&bytes).is_ok() {}
        reset(if turn % 4 < 2 { &reads_not } else { &writes });
        let mut other = if turn % 4 < 2 {
            drop(reads_not);
            writes
        } else {
            drop(writes);
            reads_not
        };
        let mut rest = Vec::new();
        match other.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}

#[test]
fn an_upstream_that_refuses_closes_the_client() {
    let mut pump = Pump::start();
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    // The pump's upstream no longer listens.
    drop(std::mem::replace(&mut pump.upstream, closed));
    for _ in 0..10 {
        let mut client = TcpStream::connect(pump.address).unwrap();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn without_descriptors_new_connections_wait_or_are_closed_and_the_rest_goes_on() {
    let pump = Pump::start_with("ulimit -n 32; exec \"$0\" \"$@\"");
    let (mut client, mut upstream) = pump.pair();
    let crowd: Vec<_> = (0..60).map(|_| TcpStream::connect(pump.address).unwrap()).collect();
    client.write_all(b"still there").unwrap();
    let mut got = [0; 11];
    upstream.read_exact(&mut got).unwrap();
    drop(crowd);
    let listener = pump.upstream.try_clone().unwrap();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            // Those of the crowd that were served end at once.
            let bytes = read_all(&mut stream);
            if stream.write_all(&bytes).is_err() {
                continue;
            }
        }
    });
    // Some may be closed for want of a second descriptor, as long as others of the crowd are on their way out.
    let served = (0..1000).any(|_| {
        let mut late = TcpStream::connect(pump.address).unwrap();
        late.set_read_timeout(Some(LIMIT)).unwrap();
        let mut got = Vec::new();
        let asked = late.write_all(b"late").and_then(|()| late.shutdown(Shutdown::Write));
        asked.and_then(|()| late.read_to_end(&mut got)).is_ok() && got == b"late"
    });
    assert!(served);
}

/// Makes a close send a reset.
fn reset(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}
