//! What is done around each node: arguments, and the operator at the terminal.

use std::io::IsTerminal;
use std::sync::Arc;

use anyhow::ensure;
use futures::FutureExt;
use futures::future::BoxFuture;
use indicatif::{ProgressBar, ProgressDrawTarget};
use tokio::sync::{Mutex, mpsc};

use crate::cluster::{Cluster, Millis, Routing};
use crate::live::{Around, Hook, Operator, Reply, Url};
use crate::upgrade::Goal;

use super::output::note;
use super::watch::Interrupt;

/// Routing and hooks.
#[derive(clap::Args)]
#[command(next_help_heading = "Around each node")]
pub struct RoutingArgs {
    /// Stop routing with an HAProxy around each node: path of its runtime socket, or host:port
    #[arg(long, value_name = "SOCKET")]
    haproxy: Vec<String>,
    /// Label each node as excluded from the load balancers of a cloud (node.kubernetes.io/exclude-from-external-load-balancers)
    /// while it is under maintenance
    #[arg(long)]
    exclude_label: bool,
    /// How long load balancers get to see that label
    #[arg(long, value_name = "DURATION", default_value = "0s", requires = "exclude_label")]
    routing_grace: Millis,
    /// Server that stops routing to a node: gets {"node","address","action":"stop-routing","version"} as POST; 2xx: it is done
    #[arg(long, value_name = "URL", requires = "resume_routing_url")]
    stop_routing_url: Option<Url>,
    /// Server that resumes routing ("action": "resume-routing")
    #[arg(long, value_name = "URL", requires = "stop_routing_url")]
    resume_routing_url: Option<Url>,
    /// Command that stops routing to the node $NODE ($ADDRESS, $VERSION, $FROM, $ROLE)
    #[arg(long, value_name = "COMMAND", requires = "resume_routing_command")]
    stop_routing_command: Option<String>,
    /// Command that resumes routing to the node $NODE
    #[arg(long, value_name = "COMMAND", requires = "stop_routing_command")]
    resume_routing_command: Option<String>,
    /// Ask at the terminal to take each node out of the load balancer, and to put it in again
    #[arg(long)]
    prompt: bool,
    /// Command that ends with 0 once no request comes to the node $NODE any more; tried again until it does
    #[arg(long, value_name = "COMMAND")]
    verify_routing_command: Option<String>,
    /// How long that may take until the run stops
    #[arg(long, value_name = "DURATION", default_value = "5m", requires = "verify_routing_command")]
    verify_routing_timeout: Millis,
    /// Command before a node is touched; where it fails the run stops and the node stays as it is
    #[arg(long, value_name = "COMMAND")]
    before_node: Option<String>,
    /// Command once a node is back in service ($OUTCOME: done, blocked); where it fails the run stops, and tries it again first
    #[arg(long, value_name = "COMMAND")]
    after_node: Option<String>,
    /// Approve requests of upgraded kubelets for their serving certificate, if they name that node and its own addresses only
    #[arg(long)]
    pub approve_serving_certificates: bool,
}

impl RoutingArgs {
    /// What is done around each node. The label comes first, so that a cloud works on it meanwhile; the operator comes last.
    pub fn around(&self) -> Around {
        let mut hooks: Vec<Hook> = self.haproxy.iter().cloned().map(Hook::Haproxy).collect();
        let urls = self.stop_routing_url.iter().cloned().zip(self.resume_routing_url.iter().cloned());
        hooks.extend(urls.map(|(stop, resume)| Hook::Http { stop, resume }));
        let commands = self.stop_routing_command.iter().cloned().zip(self.resume_routing_command.iter().cloned());
        hooks.extend(commands.map(|(stop, resume)| Hook::Command { stop, resume }));
        hooks.extend(self.prompt.then_some(Hook::Prompt));
        Around {
            hooks,
            exclude_label: self.exclude_label,
            grace: self.routing_grace,
            verify: self.verify_routing_command.clone().map(|command| (command, self.verify_routing_timeout)),
            before_node: self.before_node.clone(),
            after_node: self.after_node.clone(),
            approve_certificates: self.approve_serving_certificates,
        }
    }

    /// Whether routing is stopped at all.
    fn stops(&self) -> bool {
        let around = self.around();
        !around.hooks.is_empty() || around.exclude_label || around.verify.is_some()
    }

    /// Puts routing into the goal. What a former command has stopped must be resumed by this one.
    pub fn fit(&self, goal: &mut Goal, cluster: &Cluster) -> anyhow::Result<()> {
        goal.routing &= self.stops();
        let stopped = |node: &crate::cluster::Node| {
            let in_hand = node.marks.started.is_some() && node.marks.outcome.is_none();
            let ours = node.routing != Routing::Routed && !node.marks.was_unrouted;
            in_hand && ours && !goal.skip.contains(&node.name())
        };
        let stopped = cluster.nodes().map(|(_, node)| node).find(|node| stopped(node));
        if let (false, Some(node)) = (goal.routing, stopped) {
            anyhow::bail!(
                "the run that is continued has stopped routing to node {}: give its flags for routing again, so that it is \
                 resumed",
                node.name()
            );
        }
        Ok(())
    }

    /// Refuses a run that could not ask.
    pub fn can_ask(&self) -> anyhow::Result<()> {
        let terminal = std::io::stdin().is_terminal();
        ensure!(!self.prompt || terminal, "--prompt needs a terminal to ask at; hooks by command or URL need none");
        Ok(())
    }
}

/// The operator at the terminal of this process.
pub struct Terminal {
    bar: ProgressBar,
    interrupt: Interrupt,
    /// What he types, line by line; the reader is started with the first question.
    lines: Mutex<Option<mpsc::UnboundedReceiver<String>>>,
}

impl Terminal {
    /// Beside a progress bar.
    pub fn new(bar: ProgressBar, interrupt: Interrupt) -> Arc<Terminal> {
        Arc::new(Terminal { bar, interrupt, lines: Mutex::new(None) })
    }

    async fn answer(&self, request: &str) -> Reply {
        let mut lines = self.lines.lock().await;
        let lines = lines.get_or_insert_with(read_lines);
        // What was typed before it was asked is no answer.
        while lines.try_recv().is_ok() {}
        let question = format!("{request}, then press y and Enter (n ends the run)");
        note(&question);
        loop {
            let line = tokio::select! {
                line = lines.recv() => line,
                () = self.interrupt.asked() => return Reply::Interrupted,
            };
            match line.as_deref().map(|line| line.trim().to_lowercase()).as_deref() {
                None => return Reply::Gone,
                Some("y" | "yes") => return Reply::Done,
                Some("n" | "no") => return Reply::No,
                Some(_) => note(&question),
            }
        }
    }
}

impl Operator for Terminal {
    fn tell(&self, text: &str) {
        self.bar.suspend(|| note(text));
    }

    fn ask<'a>(&'a self, request: &'a str) -> BoxFuture<'a, Reply> {
        async move {
            // The bar would write over what is typed.
            let shown = !self.bar.is_hidden();
            self.bar.set_draw_target(ProgressDrawTarget::hidden());
            let reply = self.answer(request).await;
            if shown {
                self.bar.set_draw_target(ProgressDrawTarget::stderr());
            }
            reply
        }
        .boxed()
    }
}

/// Lines of standard input, read by a thread of their own: nothing that waits for a terminal can be ended.
fn read_lines() -> mpsc::UnboundedReceiver<String> {
    let (to, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let Ok(line) = line else { return };
            if to.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal() -> (Terminal, mpsc::UnboundedSender<String>) {
        let (to, lines) = mpsc::unbounded_channel();
        let lines = Mutex::new(Some(lines));
        (Terminal { bar: ProgressBar::hidden(), interrupt: Interrupt::quiet(), lines }, to)
    }

    #[tokio::test]
    async fn only_what_is_typed_after_the_question_answers_it() {
        let (terminal, keys) = terminal();
        for (typed, reply) in [(&["", "what", "y"][..], Reply::Done), (&["N"], Reply::No)] {
            keys.send("y".to_owned()).unwrap();
            let (reached, ()) = tokio::join!(terminal.ask("take n1 out"), async {
                tokio::task::yield_now().await;
                typed.iter().for_each(|line| keys.send((*line).to_owned()).unwrap());
            });
            assert_eq!(reached, reply, "{typed:?}");
        }
    }

    #[tokio::test]
    async fn an_interrupt_and_a_closed_terminal_end_the_question() {
        let (terminal, keys) = terminal();
        let (reply, ()) = tokio::join!(terminal.ask("take n1 out"), async {
            tokio::task::yield_now().await;
            terminal.interrupt.press();
        });
        assert_eq!(reply, Reply::Interrupted);
        let (terminal, others) = super::tests::terminal();
        drop((keys, others));
        assert_eq!(terminal.ask("take n1 out").await, Reply::Gone);
    }

    #[test]
    fn flags_come_as_pairs_and_stand_in_their_order() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            routing: RoutingArgs,
        }
        let parse = |words: &[&str]| <Line as clap::Parser>::try_parse_from([&["cmsim"], words].concat());
        for alone in [
            &["--stop-routing-url", "http://lb/"][..],
            &["--resume-routing-command", "x"],
            &["--routing-grace", "30s"],
            &["--verify-routing-timeout", "30s"],
            &["--stop-routing-url", "lb", "--resume-routing-url", "lb"],
        ] {
            assert!(parse(alone).is_err(), "{alone:?}");
        }
        assert!(!parse(&[]).unwrap().routing.stops());
        assert!(!parse(&["--before-node", "x", "--after-node", "y"]).unwrap().routing.stops());
        assert!(parse(&["--exclude-label"]).unwrap().routing.stops());
        let words = ["--prompt", "--stop-routing-command", "a", "--resume-routing-command", "b", "--haproxy", "/s"];
        let around = parse(&words).unwrap().routing.around();
        let command = Hook::Command { stop: "a".to_owned(), resume: "b".to_owned() };
        assert_eq!(around.hooks, [Hook::Haproxy("/s".to_owned()), command, Hook::Prompt]);
    }
}
