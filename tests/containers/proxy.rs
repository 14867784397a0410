//! Routing around a node at an HAProxy, told over TCP. The proxy shares the machine's network, so that all traffic stays on loopback;
//! what it sends to are servers of the test, which hold an answer back as long as the test likes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use cmsim::cluster::Time;
use cmsim::engine::Trouble;
use cmsim::live::{Around, Hook, Operator, Reply, Role, Routing, Visit};
use futures::FutureExt;
use futures::future::BoxFuture;
use testcontainers::{Container, GenericImage, ImageExt};

use super::ground::{block_on, free_port};
use super::{Images, start};

/// No answer may take longer.
const ANSWER: Duration = Duration::from_secs(30);

/// A server that answers with its name; to `/slow` only once it is let go.
struct Backend {
    port: u16,
    state: Arc<(Mutex<Held>, Condvar)>,
}

#[derive(Default)]
struct Held {
    waiting: u32,
    let_go: bool,
}

impl Backend {
    fn start(name: &'static str) -> Backend {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let backend = Backend { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let state = Arc::clone(&backend.state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                std::thread::spawn(move || drop(answer(stream, name, &state)));
            }
        });
        backend
    }

    /// Waits until a slow request is being answered.
    fn holds(&self, count: u32) -> bool {
        let (held, changed) = &*self.state;
        let (held, _) = changed.wait_timeout_while(held.lock().unwrap(), ANSWER, |held| held.waiting < count).unwrap();
        held.waiting == count
    }

    fn let_go(&self) {
        let (held, changed) = &*self.state;
        held.lock().unwrap().let_go = true;
        changed.notify_all();
    }
}

fn answer(mut stream: TcpStream, name: &str, (held, changed): &(Mutex<Held>, Condvar)) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    if request.contains("/slow") {
        let mut held = held.lock().unwrap();
        held.waiting += 1;
        changed.notify_all();
        drop(changed.wait_timeout_while(held, ANSWER, |held| !held.let_go).unwrap());
    }
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{name}", name.len())
}

/// An HAProxy with the servers `n1` and `n2`.
struct Proxy {
    container: Container<GenericImage>,
    front: u16,
    runtime: u16,
    backends: [Backend; 2],
}

impl Proxy {
    fn start(images: &Images) -> Proxy {
        let (front, runtime) = (free_port(), free_port());
        let backends = ["n1", "n2"].map(Backend::start);
        let config = format!(
            "global\n    stats socket ipv4@127.0.0.1:{runtime} level admin\n\
             defaults\n    mode http\n    timeout connect 2s\n    timeout client 60s\n    timeout server 60s\n\
             listen web\n    bind 127.0.0.1:{front}\n    option http-server-close\n    balance roundrobin\n    \
             server n1 127.0.0.1:{}\n    server n2 127.0.0.1:{}\n",
            backends[0].port, backends[1].port
        );
        let request = images
            .get("haproxy")
            .with_copy_to("/haproxy.cfg", config.into_bytes())
            .with_host_config_modifier(|host| host.network_mode = Some("host".to_owned()));
        let proxy = Proxy { container: start(request), front, runtime, backends };
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", front)).is_err() {
            assert!(Instant::now() < until, "HAProxy does not listen: {}", proxy.said());
            std::thread::sleep(Duration::from_millis(50));
        }
        proxy
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&self.container.stderr_to_vec().unwrap()).into_owned()
    }

    fn socket(&self) -> String {
        format!("127.0.0.1:{}", self.runtime)
    }

    /// Who answers a request.
    fn ask(&self, path: &str) -> String {
        ask(self.front, path)
    }

    /// How often each of the two answers.
    fn answers(&self) -> [usize; 2] {
        let names: Vec<String> = (0..10).map(|_| self.ask("/")).collect();
        let count = |name: &str| names.iter().filter(|&answer| answer == name).count();
        assert_eq!(count("n1") + count("n2"), 10, "{names:?}");
        [count("n1"), count("n2")]
    }

    /// What HAProxy itself says of a server: its status, and its sessions.
    fn state(&self, server: &str) -> (String, u32) {
        let mut stream = connect(self.runtime);
        stream.write_all(b"show stat\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let start = format!("web,{server},");
        let fields: Vec<&str> = text.lines().find(|line| line.starts_with(&start)).unwrap().split(',').collect();
        // The columns of HAProxy's management guide, section 9.1: 4 is scur, 17 is status.
        (fields[17].to_owned(), fields[4].parse().unwrap())
    }
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(ANSWER)).unwrap();
    stream
}

fn ask(port: u16, path: &str) -> String {
    let mut stream = connect(port);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    text.split("\r\n\r\n").nth(1).unwrap().to_owned()
}

/// Hears what is told, and is never asked.
#[derive(Default)]
struct Hears(Mutex<Vec<String>>);

impl Operator for Hears {
    fn tell(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }

    fn ask<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Reply> {
        async { Reply::No }.boxed()
    }
}

fn routing(socket: String) -> (Routing, Arc<Hears>) {
    let (around, hears) = (Around { hooks: vec![Hook::Haproxy(socket)], ..Around::default() }, Arc::<Hears>::default());
    (Routing::new(around, Arc::clone(&hears) as Arc<dyn Operator>), hears)
}

fn visit(node: &str) -> Visit {
    let (from, to) = ("v1.36.3".parse().ok(), "v1.37.2".parse().ok());
    Visit { node: node.into(), address: "127.0.0.1".into(), from, runs: from, to, role: Role::Worker }
}

pub fn drains_a_server_and_takes_it_back(images: &Images) {
    let proxy = Proxy::start(images);
    assert_eq!(proxy.answers(), [5, 5]);
    let (mut routing, hears) = routing(proxy.socket());
    assert!(block_on(routing.is_routed("n1".into())).unwrap());

    // Each of the two holds a request when routing stops.
    let front = proxy.front;
    let slow = [(); 2].map(|()| std::thread::spawn(move || ask(front, "/slow")));
    assert!(proxy.backends.iter().all(|backend| backend.holds(1)), "both hold a slow request");
    let stopping = std::thread::spawn(move || (block_on(routing.stop(&visit("n1"), None, Time(0))), routing));
    let until = Instant::now() + Duration::from_secs(10);
    while proxy.state("n1").0 != "DRAIN" {
        assert!(Instant::now() < until, "{:?}", proxy.state("n1"));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(proxy.answers(), [0, 10], "nothing new goes to n1");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(proxy.state("n1"), ("DRAIN".to_owned(), 1));
    assert!(!stopping.is_finished(), "routing has not stopped while a request is being answered");

    proxy.backends[0].let_go();
    let let_go = Instant::now();
    let (stopped, mut routing) = stopping.join().unwrap();
    stopped.unwrap();
    assert!(let_go.elapsed() < Duration::from_secs(5), "{:?}", let_go.elapsed());
    assert_eq!(proxy.state("n1"), ("DRAIN".to_owned(), 0));
    assert_eq!(proxy.state("n2"), ("no check".to_owned(), 1), "the other is left alone");
    assert!(!block_on(routing.is_routed("n1".into())).unwrap() && block_on(routing.is_routed("n2".into())).unwrap());
    proxy.backends[1].let_go();
    let mut answers = slow.map(|request| request.join().unwrap());
    answers.sort();
    assert_eq!(answers, ["n1", "n2"], "both slow requests were answered to their end");

    block_on(routing.resume(&visit("n1"))).unwrap();
    assert!(block_on(routing.is_routed("n1".into())).unwrap());
    assert_eq!(proxy.answers(), [5, 5]);
    assert_eq!(*hears.0.lock().unwrap(), [""; 0]);
}

pub fn without_the_server_is_named(images: &Images) {
    let proxy = Proxy::start(images);
    let (mut routing, hears) = routing(proxy.socket());
    block_on(routing.stop(&visit("n7"), None, Time(0))).unwrap();
    let said = format!("HAProxy {} has no server n7: nothing was drained there", proxy.socket());
    assert_eq!(*hears.0.lock().unwrap(), [said]);
    assert_eq!(proxy.answers(), [5, 5]);
    // Of a proxy that is gone nothing is known.
    drop(proxy);
    let trouble = block_on(routing.stop(&visit("n1"), None, Time(0))).unwrap_err();
    assert!(matches!(trouble, Trouble::Unreachable(_)), "{trouble}");
}
