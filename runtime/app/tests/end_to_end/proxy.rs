//! A proxy process, an upstream that records, a client on a raw socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_ringway");

/// A bounded wait for something that comes by itself.
pub(crate) fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !happened() {
        assert!(Instant::now() < until, "{what}: not within 20 s");
        thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(crate) struct Proxy {
    child: Child,
    pub(crate) dir: PathBuf,
    pub(crate) web: SocketAddr,
    pub(crate) tcp: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Proxy {
    /// Starts a proxy whose route and TCP listener lead to `upstream`. `extra` goes to the HTTP listener.
    pub(crate) fn start(upstream: SocketAddr, extra: &str) -> Self {
        Self::start_with(|_, web, tcp, admin| config(web, tcp, admin, upstream, extra))
    }

    /// Starts a proxy with a configuration made for its directory, two free addresses, and that of its admin API.
    pub(crate) fn start_with(text: impl FnOnce(&Path, SocketAddr, SocketAddr, SocketAddr) -> String) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("ringway-e2e-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let [web, tcp, admin] = [(); 3].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
        let path = dir.join("ringway.yaml");
        std::fs::write(&path, text(&dir, web, tcp, admin)).unwrap();
        let child = Command::new(BINARY).args(["run", "-c"]).arg(&path).stderr(Stdio::inherit()).spawn().unwrap();
        let proxy = Self { child, dir, web, tcp, admin };
        eventually("the proxy is ready", || {
            proxy.ask("GET", "/ready").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
        });
        proxy
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.dir.join("ringway.yaml")
    }

    /// Replaces the configuration file atomically.
    pub(crate) fn configure(&self, upstream: SocketAddr, extra: &str) {
        let next = self.dir.join("next.yaml");
        std::fs::write(&next, config(self.web, self.tcp, self.admin, upstream, extra)).unwrap();
        std::fs::rename(next, self.config_path()).unwrap();
    }

    /// Asks the admin API; the whole answer.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.admin).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// A statistic's value.
    pub(crate) fn stat(&self, name: &str) -> u64 {
        let answer = self.ask("GET", &format!("/stats?filter={name}")).unwrap_or_default();
        let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn generation(&self) -> u64 {
        self.stat("config.generation")
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the process to end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.dir).ok();
    }
}

pub(crate) fn config(web: SocketAddr, tcp: SocketAddr, admin: SocketAddr, upstream: SocketAddr, extra: &str) -> String {
    format!(
        r#"
workers: 2
admin: {{ address: "{admin}" }}
listeners:
  - name: web
    address: "{web}"
    protocol: http1
    {extra}
    routes: {{ virtual_hosts: [{{ domains: ["*"], routes: [{{ match: {{ prefix: / }}, route: {{ cluster: app, timeout: 5s }} }}] }}] }}
  - {{ name: raw, address: "{tcp}", protocol: tcp, cluster: bytes }}
clusters:
  - {{ name: app, endpoints: ["{upstream}"] }}
  - {{ name: bytes, protocol: tcp, endpoints: ["{upstream}"] }}
drain: {{ timeout: 10s }}
"#
    )
}

/// What an upstream does with a request.
pub(crate) type Answer = dyn Fn(&str, &mut TcpStream) -> bool + Send + Sync;

/// An upstream that records heads and answers as it is told; it keeps a connection while the answer says `true`.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    pub(crate) heads: Arc<Mutex<Vec<String>>>,
    pub(crate) contents: Arc<Mutex<Vec<Vec<u8>>>>,
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Upstream {
    pub(crate) fn start(answer: impl Fn(&str, &mut TcpStream) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let contents: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let bodies = contents.clone();
        let connections: Arc<AtomicUsize> = Arc::default();
        let (noted, count, answer): (_, _, Arc<Answer>) = (heads.clone(), connections.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, heads, answer) = (stream.unwrap(), noted.clone(), answer.clone());
                let contents = bodies.clone();
                count.fetch_add(1, Ordering::Relaxed);
                thread::spawn(move || {
                    stream.set_nodelay(true).ok();
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    while let Some(head) = read_head(&mut reader) {
                        // The content, if it has a length: the tests send no other.
                        let length = content_length(&head);
                        let mut content = vec![0; length];
                        if reader.read_exact(&mut content).is_err() {
                            return;
                        }
                        contents.lock().unwrap().push(content);
                        heads.lock().unwrap().push(head.clone());
                        if !answer(&head, &mut stream) {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, heads, contents, connections }
    }

    /// One that answers 200 with `text`.
    pub(crate) fn saying(text: &'static str) -> Self {
        Self::start(move |_, stream| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
            stream.write_all(head.as_bytes()).is_ok()
        })
    }
}

pub(crate) fn content_length(head: &str) -> usize {
    let value = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok()).flatten()
    });
    value.unwrap_or(0)
}

fn read_head(reader: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    loop {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
        if head.ends_with("\r\n\r\n") {
            return Some(head);
        }
    }
}

/// A client connection.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).unwrap();
    }

    /// Head and content of the next response; `None` at the end of the stream or a reset.
    pub(crate) fn response(&mut self) -> Option<(String, Vec<u8>)> {
        let head = read_head(&mut self.reader)?;
        let mut content = vec![0; content_length(&head)];
        self.reader.read_exact(&mut content).ok()?;
        Some((head, content))
    }

    pub(crate) fn get(&mut self, path: &str) -> Option<(String, Vec<u8>)> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
        self.reader.get_mut().write_all(request.as_bytes()).ok()?;
        self.response()
    }

    /// So many bytes.
    pub(crate) fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Everything up to the end of the stream.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).ok();
        rest
    }
}

/// The status of one request on a connection of its own.
pub(crate) fn status(to: SocketAddr) -> u16 {
    let answer = Client::connect(to).get("/");
    answer.and_then(|(head, _)| head.split(' ').nth(1)?.parse().ok()).unwrap_or(0)
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}
