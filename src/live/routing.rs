//! Routing of requests around a node under maintenance (M2, M17), and whatever else the operator wants to be done before and
//! after the work on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::haproxy::{ask, servers};
use super::hook::{Url, Visit, command, post};
use super::operator::{Operator, Reply};
use crate::cluster::{Millis, Name, NodeOutcome, Time};
use crate::engine::Trouble;

/// How long sessions may take to end after routing was stopped, by default.
const SESSIONS: Duration = Duration::from_secs(30);
/// Pause between two looks at whether routing has stopped.
const LOOK: Duration = Duration::from_secs(2);

/// One place where routing is stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hook {
    /// The runtime socket of an HAProxy, as path or `host:port`: servers that are called like the node are drained.
    Haproxy(String),
    /// An HTTP server that is told.
    Http {
        /// Is told to stop routing.
        stop: Url,
        /// Is told to resume it.
        resume: Url,
    },
    /// Commands of the operator.
    Command {
        /// Stops routing.
        stop: String,
        /// Resumes it.
        resume: String,
    },
    /// The operator himself.
    Prompt,
}

/// What is done around the work on each node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Around {
    /// Where routing is stopped, in this order; resumed in the opposite one.
    pub hooks: Vec<Hook>,
    /// The node is labelled as one that the load balancers of a cloud must leave out ([`crate::cluster::EXCLUDED`]).
    pub exclude_label: bool,
    /// How long load balancers get to see the label.
    pub grace: Millis,
    /// Command that ends with 0 once no request comes to the node any more, and how long that may take.
    pub verify: Option<(String, Millis)>,
    /// Command before the node is touched.
    pub before_node: Option<String>,
    /// Command once the node is back in service.
    pub after_node: Option<String>,
    /// Requests of upgraded kubelets for serving certificates are approved where they are sound.
    pub approve_certificates: bool,
}

/// A step that need not be done twice by one process while the rest of its action is tried again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Step {
    Before,
    Stop(usize),
    Resume(usize),
    After,
}

/// Carries out what is done around nodes. A step that was done by a process which is no more is done again: all of them may be.
pub struct Routing {
    around: Around,
    operator: Arc<dyn Operator>,
    done: BTreeSet<(Name, Step)>,
    /// Since when it is looked whether routing to a node has stopped.
    verifying: BTreeMap<Name, Instant>,
}

impl Routing {
    /// Routing as the operator wants it.
    pub fn new(around: Around, operator: Arc<dyn Operator>) -> Routing {
        Routing { around, operator, done: BTreeSet::new(), verifying: BTreeMap::new() }
    }

    /// What the operator wants.
    pub(super) fn around(&self) -> &Around {
        &self.around
    }

    /// Whom to tell.
    pub(super) fn operator(&self) -> &Arc<dyn Operator> {
        &self.operator
    }

    /// Whether every place sends to the node.
    ///
    /// # Errors
    ///
    /// [`Trouble::Unreachable`] where an HAProxy does not answer.
    pub async fn is_routed(&self, node: Name) -> Result<bool, Trouble> {
        for hook in &self.around.hooks {
            if let Hook::Haproxy(socket) = hook {
                let servers = servers(socket, node).await?;
                if servers.iter().any(|server| server.status.starts_with("DRAIN") || server.status.starts_with("MAINT"))
                {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Stops routing to the node. `labelled`: when it was labelled for it, if it was. HAProxy's sessions are waited for until none
    /// is left or the time for it is over; of one that has no server for the node the operator is told.
    ///
    /// # Errors
    ///
    /// [`Trouble::Refused`] where a hook has failed for good, else it is to be called again: what was done is not done twice.
    pub async fn stop(&mut self, visit: &Visit, labelled: Option<Time>, now: Time) -> Result<(), Trouble> {
        for (number, hook) in self.around.hooks.clone().into_iter().enumerate() {
            if self.is_done(visit, Step::Stop(number)) {
                continue;
            }
            match hook {
                Hook::Haproxy(socket) => {
                    // Looked at again each time: that costs nothing.
                    if drain(&socket, visit.node).await? {
                        continue;
                    }
                    let text = format!("HAProxy {socket} has no server {}: nothing was drained there", visit.node);
                    self.operator.tell(&text);
                }
                Hook::Http { stop, .. } => post(&stop, "stop-routing", visit).await?,
                Hook::Command { stop, .. } => command(&stop, "routing hook", visit, &[]).await?,
                Hook::Prompt => self.ask(&stop_request(visit)).await?,
            }
            self.done.insert((visit.node, Step::Stop(number)));
        }
        if let Some(over) = labelled.map(|since| since + self.around.grace).filter(|&over| now < over) {
            let over = jiff::Timestamp::from_millisecond(over.0).map_or(String::new(), |time| format!("{time:.0}"));
            return Err(Trouble::NotYet(format!(
                "load balancers get until {over} to see the label of node {}",
                visit.node
            )));
        }
        self.verify(visit).await
    }

    /// Whether no request comes to the node any more.
    async fn verify(&mut self, visit: &Visit) -> Result<(), Trouble> {
        let Some((text, allowed)) = &self.around.verify else { return Ok(()) };
        let since = *self.verifying.entry(visit.node).or_insert_with(Instant::now);
        let allowed = Duration::from_millis(u64::try_from(allowed.0).unwrap_or(0));
        let left = allowed.saturating_sub(since.elapsed()).max(LOOK);
        let why = match tokio::time::timeout(left, command(text, "verification", visit, &[])).await {
            Ok(Ok(())) => {
                self.verifying.remove(&visit.node);
                return Ok(());
            }
            Ok(Err(trouble)) => trouble.to_string(),
            Err(_) => format!("verification {text:?} for node {} does not end", visit.node),
        };
        if since.elapsed() >= allowed {
            self.verifying.remove(&visit.node);
            return Err(Trouble::Refused(format!("requests still come to node {}: {why}", visit.node)));
        }
        tokio::time::sleep(LOOK.min(left)).await;
        Err(Trouble::NotYet(format!("requests still come to node {}: {why}", visit.node)))
    }

    /// Resumes routing to the node.
    ///
    /// # Errors
    ///
    /// As [`Routing::stop`].
    pub async fn resume(&mut self, visit: &Visit) -> Result<(), Trouble> {
        for (number, hook) in self.around.hooks.clone().into_iter().enumerate().rev() {
            if self.is_done(visit, Step::Resume(number)) {
                continue;
            }
            match hook {
                Hook::Haproxy(socket) => {
                    for server in servers(&socket, visit.node).await? {
                        ask(&socket, &format!("set server {}/{} state ready", server.backend, server.name)).await?;
                    }
                    continue;
                }
                Hook::Http { resume, .. } => post(&resume, "resume-routing", visit).await?,
                Hook::Command { resume, .. } => command(&resume, "routing hook", visit, &[]).await?,
                Hook::Prompt => self.ask(&resume_request(visit)).await?,
            }
            self.done.insert((visit.node, Step::Resume(number)));
        }
        Ok(())
    }

    /// What the operator will be asked before routing stops.
    pub(super) fn asks_to_stop(&self, visit: &Visit) -> Option<String> {
        let asks = self.around.hooks.contains(&Hook::Prompt);
        asks.then(|| format!("the operator is asked at his terminal: {}", stop_request(visit)))
    }

    /// What the operator will be asked when routing may be resumed.
    pub(super) fn asks_to_resume(&self, visit: &Visit) -> Option<String> {
        let asks = self.around.hooks.contains(&Hook::Prompt);
        asks.then(|| format!("the operator is asked at his terminal: {}", resume_request(visit)))
    }

    /// Runs the operator's command before a node is touched.
    pub(super) async fn before(&mut self, visit: &Visit) -> Result<(), Trouble> {
        let Some(text) = self.around.before_node.clone().filter(|_| !self.is_done(visit, Step::Before)) else {
            return Ok(());
        };
        command(&text, "the node was not touched: hook before it", visit, &[]).await?;
        self.done.insert((visit.node, Step::Before));
        Ok(())
    }

    /// Runs the operator's command once a node is back in service.
    pub(super) async fn after(&mut self, visit: &Visit, outcome: NodeOutcome) -> Result<(), Trouble> {
        let Some(text) = self.around.after_node.clone().filter(|_| !self.is_done(visit, Step::After)) else {
            return Ok(());
        };
        let word = match outcome {
            NodeOutcome::Done => "done",
            NodeOutcome::Blocked => "blocked",
        };
        command(&text, "the node is back in service: hook after it", visit, &[("OUTCOME", word)]).await?;
        self.done.insert((visit.node, Step::After));
        Ok(())
    }

    /// An action of a node has been carried out and recorded: what comes next is about another time.
    pub(super) fn forget(&mut self, node: Name) {
        self.done.retain(|(done, _)| *done != node);
    }

    fn is_done(&self, visit: &Visit, step: Step) -> bool {
        self.done.contains(&(visit.node, step))
    }

    async fn ask(&self, request: &str) -> Result<(), Trouble> {
        match self.operator.ask(request).await {
            Reply::Done => Ok(()),
            Reply::No => Err(Trouble::Refused(format!("the operator said no: {request}"))),
            Reply::Interrupted => Err(Trouble::NotYet(format!("not answered: {request}"))),
            Reply::Gone => Err(Trouble::Refused(format!("nobody is at the terminal any more: {request}"))),
        }
    }
}

fn stop_request(visit: &Visit) -> String {
    let versions = match (visit.from, visit.to) {
        (Some(from), Some(to)) => format!("{from} -> {to}"),
        (None, Some(version)) | (Some(version), None) => version.to_string(),
        (None, None) => String::new(),
    };
    format!("take {} out of the load balancer", with(visit, versions))
}

fn resume_request(visit: &Visit) -> String {
    let version = visit.runs.map_or(String::new(), |version| version.to_string());
    format!("put {} into the load balancer again", with(visit, version))
}

/// The node with what is known of it.
fn with(visit: &Visit, version: String) -> String {
    let known: Vec<String> = [visit.address.to_string(), version].into_iter().filter(|text| !text.is_empty()).collect();
    if known.is_empty() { visit.node.to_string() } else { format!("{} ({})", visit.node, known.join(", ")) }
}

/// Drains the node's servers and waits for their sessions. `false`: there is none.
async fn drain(socket: &str, node: Name) -> Result<bool, Trouble> {
    let servers_of_node = servers(socket, node).await?;
    if servers_of_node.is_empty() {
        return Ok(false);
    }
    for server in servers_of_node {
        ask(socket, &format!("set server {}/{} state drain", server.backend, server.name)).await?;
    }
    let start = Instant::now();
    loop {
        let servers = servers(socket, node).await?;
        if let Some(server) = servers.iter().find(|server| !server.is_drained()) {
            let text = format!("{}/{} is {:?}", server.backend, server.name, server.status);
            return Err(Trouble::Unreachable(format!("HAProxy {socket} still sends to {node}: {text}")));
        }
        let sessions: u64 = servers.iter().map(|server| server.sessions).sum();
        if sessions == 0 || start.elapsed() > SESSIONS {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;

    use futures::FutureExt;
    use futures::future::BoxFuture;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::hook::tests::{server, visit};
    use super::*;

    /// Gives these answers, the last one first, and remembers what it was asked.
    struct Played {
        replies: Mutex<Vec<Reply>>,
        asked: Mutex<Vec<String>>,
        told: Mutex<Vec<String>>,
    }

    impl Operator for Played {
        fn tell(&self, text: &str) {
            self.told.lock().unwrap().push(text.to_owned());
        }

        fn ask<'a>(&'a self, request: &'a str) -> BoxFuture<'a, Reply> {
            self.asked.lock().unwrap().push(request.to_owned());
            let reply = self.replies.lock().unwrap().pop().unwrap();
            async move { reply }.boxed()
        }
    }

    fn routing(around: Around, replies: &[Reply]) -> (Routing, Arc<Played>) {
        let played =
            Arc::new(Played { replies: Mutex::new(replies.to_vec()), asked: Mutex::default(), told: Mutex::default() });
        (Routing::new(around, Arc::clone(&played) as Arc<dyn Operator>), played)
    }

    fn lines(file: &Path) -> Vec<String> {
        std::fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn the_operator_is_asked_with_node_address_and_versions() {
        let around = Around { hooks: vec![Hook::Prompt], ..Around::default() };
        let (mut routing, operator) = routing(around, &[Reply::Done, Reply::Done]);
        routing.stop(&visit(), None, Time(0)).await.unwrap();
        let done = Visit { runs: visit().to, ..visit() };
        routing.resume(&done).await.unwrap();
        assert_eq!(
            *operator.asked.lock().unwrap(),
            [
                "take n1 (172.18.0.3, v1.36.3 -> v1.37.2) out of the load balancer",
                "put n1 (172.18.0.3, v1.37.2) into the load balancer again"
            ]
        );
    }

    #[tokio::test]
    async fn an_operator_who_does_not_do_it_ends_the_run() {
        for (reply, ends) in [(Reply::No, true), (Reply::Gone, true), (Reply::Interrupted, false)] {
            let around = Around { hooks: vec![Hook::Prompt], ..Around::default() };
            let (mut routing, _) = routing(around, &[reply]);
            let trouble = routing.stop(&visit(), None, Time(0)).await.unwrap_err();
            assert_eq!(matches!(trouble, Trouble::Refused(_)), ends, "{trouble}");
            assert_eq!(matches!(trouble, Trouble::NotYet(_)), !ends, "{trouble}");
        }
    }

    #[tokio::test]
    async fn what_was_done_is_not_done_again_while_the_rest_is_tried() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("said");
        let note = |word: &str| format!("echo {word} $NODE >> {}", file.display());
        let (url, asked) = server(&["503 Busy", "200 OK", "200 OK"]);
        let hooks = vec![
            Hook::Command { stop: note("stop"), resume: note("resume") },
            Hook::Http { stop: url.clone(), resume: url },
            Hook::Prompt,
        ];
        let (mut routing, operator) = routing(Around { hooks, ..Around::default() }, &[Reply::Done, Reply::Done]);
        let trouble = routing.stop(&visit(), None, Time(0)).await.unwrap_err();
        assert!(matches!(trouble, Trouble::Unreachable(_)), "{trouble}");
        routing.stop(&visit(), None, Time(0)).await.unwrap();
        assert_eq!(lines(&file), ["stop n1"]);
        assert_eq!(operator.asked.lock().unwrap().len(), 1);
        routing.forget("n1".into());
        routing.resume(&visit()).await.unwrap();
        routing.forget("n1".into());
        let asked = asked.join().unwrap();
        assert!(asked[1].contains("stop-routing") && asked[2].contains("resume-routing"), "{asked:?}");
        assert_eq!(lines(&file), ["stop n1", "resume n1"]);
    }

    #[tokio::test]
    async fn of_a_proxy_without_the_server_the_operator_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("proxy").display().to_string();
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut question = [0; 64];
                let _ = stream.read(&mut question).await;
                let _ = stream.write_all(b"# pxname,svname,scur,status\nweb,n2,0,UP\n").await;
            }
        });
        let around = Around { hooks: vec![Hook::Haproxy(socket.clone())], ..Around::default() };
        let (mut routing, operator) = routing(around, &[]);
        for _ in 0..2 {
            routing.stop(&visit(), None, Time(0)).await.unwrap();
        }
        assert_eq!(
            *operator.told.lock().unwrap(),
            [format!("HAProxy {socket} has no server n1: nothing was drained there")]
        );
        // Its other servers stay as they are.
        assert!(routing.is_routed("n2".into()).await.unwrap());
    }

    #[tokio::test]
    async fn load_balancers_get_their_time_from_the_label_on() {
        let around = Around { exclude_label: true, grace: Millis::secs(60), ..Around::default() };
        let (mut routing, _) = routing(around, &[]);
        let trouble = routing.stop(&visit(), Some(Time(1000)), Time(60_999)).await.unwrap_err();
        assert!(matches!(&trouble, Trouble::NotYet(text) if text.contains("1970-01-01T00:01:01Z")), "{trouble}");
        routing.stop(&visit(), Some(Time(1000)), Time(61_000)).await.unwrap();
        // A label of the operator's own was seen long ago.
        routing.stop(&visit(), None, Time(1000)).await.unwrap();
    }

    #[tokio::test]
    async fn routing_has_stopped_when_the_command_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tries");
        let third = format!("echo >> {0}; test $(wc -l < {0}) -ge 2 || {{ echo 7 requests; exit 1; }}", file.display());
        let around = Around { verify: Some((third, Millis::secs(60))), ..Around::default() };
        let (mut routing, _) = routing(around, &[]);
        let trouble = routing.stop(&visit(), None, Time(0)).await.unwrap_err();
        assert!(matches!(&trouble, Trouble::NotYet(text) if text.contains("7 requests")), "{trouble}");
        routing.stop(&visit(), None, Time(0)).await.unwrap();
        assert_eq!(lines(&file).len(), 2);
    }

    #[tokio::test]
    async fn requests_that_do_not_stop_end_the_run() {
        for command in ["exit 1", "sleep 60"] {
            let around = Around { verify: Some((command.to_owned(), Millis::secs(1))), ..Around::default() };
            let (mut routing, _) = routing(around, &[]);
            let trouble = loop {
                match routing.stop(&visit(), None, Time(0)).await.unwrap_err() {
                    Trouble::NotYet(_) => {}
                    trouble => break trouble,
                }
            };
            assert!(matches!(&trouble, Trouble::Refused(text) if text.starts_with("requests still come")), "{trouble}");
        }
    }

    #[tokio::test]
    async fn hooks_before_and_after_run_once_and_their_failure_ends_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("said");
        let after = format!("echo $NODE $OUTCOME >> {}", file.display());
        let around = Around { before_node: Some("exit 4".to_owned()), after_node: Some(after), ..Around::default() };
        let (mut routing, _) = routing(around, &[]);
        let trouble = routing.before(&visit()).await.unwrap_err();
        assert!(matches!(&trouble, Trouble::Refused(text) if text.contains("not touched")), "{trouble}");
        routing.after(&visit(), NodeOutcome::Done).await.unwrap();
        routing.after(&visit(), NodeOutcome::Done).await.unwrap();
        assert_eq!(lines(&file), ["n1 done"]);
        routing.forget("n1".into());
        routing.after(&visit(), NodeOutcome::Blocked).await.unwrap();
        assert_eq!(lines(&file), ["n1 done", "n1 blocked"]);
    }
}
