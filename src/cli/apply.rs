//! `cmsim apply`.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};

use crate::check::{Checked, Options, check};
use crate::cluster::{Attested, Cluster, Name, RunRecord, Version};
use crate::engine::{self, End, Trouble};
use crate::explore::Setup;
use crate::live::ssh::RecipeWork;
use crate::live::{self, Commands, Connection, HostWork, Journal, Lease, Live, Record, Rights, Routing};
use crate::preflight::{Ignore, Severity};
use crate::report::text::Detail;
use crate::upgrade::{Accepted, Goal, Outcome, decide, turns};

use super::backup::back_up_objects;
use super::before::BeforeArgs;
use super::dry_run::{self, Means};
use super::hosts::{SshArgs, recipe, recipe_values};
use super::input::{GoalArgs, Walks, quoted};
use super::live::{LiveArgs, now, read, run as block_on};
use super::output::{self, Format, confirm, note};
use super::routing::{RoutingArgs, Terminal};
use super::watch::{Interrupt, Watch, open_journal};
use super::{NO, OK};

/// Upgrade the cluster, node by node, with the engine that `check` verifies
#[derive(clap::Args)]
#[command(
    after_help = "The same command, given again, continues a run that was interrupted or has stopped, from any machine.

Examples:
  cmsim apply --to v1.37.2 --recipe kubeadm-apt --dry-run
  cmsim apply --to v1.37.2 --recipe kubeadm-apt --ssh-user ops --ignore P037=Node/n1
  cmsim apply --to v1.37.2 --recipe kubeadm-apt --yes --attest release-notes,add-ons,graceful-stop,no-other-work
  cmsim apply --to v1.37.2 --host-command './upgrade-host.sh' --backup-command './back-up.sh'
  cmsim apply --to v1.37.2 --accept-disruption shop/Deployment/legacy ...
  cmsim apply --to v1.37.2 --recipe kubeadm-apt --prompt
  cmsim apply --to v1.37.2 --recipe kubeadm-apt --exclude-label --routing-grace 60s \\
    --verify-routing-command './no-requests-to.sh \"$NODE\"'
  cmsim apply --to v1.37.2 --recipe kubeadm-apt --stop-routing-url https://lb.example.com/nodes \\
    --resume-routing-url https://lb.example.com/nodes --after-node './smoke-test.sh \"$NODE\"'
  cmsim apply --to v1.37.2 --recipe kubeadm-apt --skip-node n7

Exit codes: 0 done, 1 stopped, refused or interrupted, 2 could not run (bad input, wrong usage, no access)."
)]
pub struct Args {
    // First those of no heading: the headings of the flattened ones go on behind them.
    /// Answer the summary's question with yes
    #[arg(short, long)]
    yes: bool,
    /// Show what would be done and what the API server says to the first steps, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Start although the forecast says that the run will stop at a pod: it stops there, and goes on when that is put right
    #[arg(long)]
    even_if_blocked: bool,
    /// Take the lock of a run whose holder has not renewed it in time
    #[arg(long)]
    steal_lock: bool,
    /// Do not take a backup: there is one
    #[arg(long)]
    no_backup: bool,
    /// Do not stop when a workload has fewer ready pods than the forecast said
    #[arg(long)]
    no_pause: bool,
    /// File that the run is recorded in, as JSON Lines; appended to
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// How progress and result are printed; json: an event a line, the result last
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    live: LiveArgs,
    #[command(flatten)]
    goal: GoalArgs,
    #[command(flatten)]
    walks: Walks,
    #[command(flatten)]
    hosts: HostArgs,
    #[command(flatten)]
    before: BeforeArgs,
    #[command(flatten)]
    routing: RoutingArgs,
}

/// The recipe for backups where the operator names none.
const BACKUP: &str = "backup-kubeadm";

/// How hosts are upgraded.
#[derive(clap::Args)]
#[command(next_help_heading = "Hosts")]
pub struct HostArgs {
    /// Command of this machine that upgrades the host of node $NODE ($ADDRESS, $VERSION, $FROM, $ROLE, $JOB)
    #[arg(long, value_name = "COMMAND", conflicts_with = "recipe")]
    host_command: Option<String>,
    /// Recipe that upgrades the hosts over SSH: a name of `cmsim recipe list`, or a file
    #[arg(long, value_name = "NAME|FILE")]
    recipe: Option<String>,
    /// Value of a variable of the recipe
    #[arg(long, value_name = "NAME=VALUE", requires = "recipe")]
    recipe_var: Vec<String>,
    /// Recipe that takes the backup on the first control-plane node; backup-kubeadm where a recipe upgrades the hosts
    #[arg(long, value_name = "NAME|FILE", requires = "recipe", conflicts_with = "backup_command")]
    backup_recipe: Option<String>,
    /// Value of a variable of the backup's recipe
    #[arg(long, value_name = "NAME=VALUE", requires = "recipe")]
    backup_var: Vec<String>,
    #[command(flatten)]
    ssh: SshArgs,
    /// Command of this machine that takes a backup and verifies it
    #[arg(long, value_name = "COMMAND")]
    backup_command: Option<String>,
}

impl HostArgs {
    /// Who does the work on hosts; mistakes in recipe and inventory are found here.
    fn work(&self, commands: Commands) -> anyhow::Result<Box<dyn HostWork>> {
        let Some(name) = &self.recipe else { return Ok(Box::new(commands)) };
        let recipe = (recipe(name)?, recipe_values(&self.recipe_var)?);
        let back_up = match (&self.backup_recipe, &self.backup_command) {
            (Some(name), _) => Some((super::hosts::recipe(name)?, recipe_values(&self.backup_var)?)),
            (None, Some(_)) => None,
            (None, None) => Some((super::hosts::recipe(BACKUP)?, recipe_values(&self.backup_var)?)),
        };
        let (access, settings) = (self.ssh.access()?, self.ssh.settings());
        Ok(Box::new(RecipeWork::new(access, settings, recipe, back_up, Box::new(commands))?))
    }

    /// How hosts are reached, where that is by SSH.
    fn over_ssh(&self) -> Option<&SshArgs> {
        self.recipe.is_some().then_some(&self.ssh)
    }

    /// What is done outside of the cluster, in words.
    fn means(&self) -> Means {
        let word = |recipe: &Option<String>, command: &Option<String>| match (recipe, command) {
            (Some(name), _) => format!("recipe {name} over SSH"),
            (None, Some(command)) => format!("command {command:?}"),
            (None, None) => "no way was given".to_owned(),
        };
        let own_backup = self.recipe.as_ref().filter(|_| self.backup_command.is_none()).map(|_| BACKUP.to_owned());
        Means {
            hosts: word(&self.recipe, &self.host_command),
            backup: word(&self.backup_recipe.clone().or(own_backup), &self.backup_command),
        }
    }

    fn commands(&self) -> Commands {
        Commands {
            upgrade: self.host_command.clone(),
            back_up: self.backup_command.clone(),
            folder: state_folder().join("jobs"),
        }
    }
}

/// Looks, asks, acts.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    block_on(apply(args))
}

async fn apply(args: &Args) -> anyhow::Result<u8> {
    if !args.dry_run {
        args.routing.can_ask()?;
    }
    let connection = args.live.connect().await?;
    let certificates = args.routing.approve_serving_certificates;
    let rights = if args.dry_run { Rights::Look } else { Rights::Run { certificates } };
    let missing = live::missing(&connection, rights).await?;
    ensure!(
        missing.is_empty(),
        "this account lacks rights that a run needs: {}; docs/rbac.yaml grants the least that is needed",
        missing.join(", ")
    );
    let ignore = args.before.ignore.read()?;
    let work = args.hosts.work(args.hosts.commands())?;
    let mut cluster = read(&connection).await?;
    let goal = goal(args, &cluster)?;
    let record = Record::read(&connection).await?;
    let going_on = goes_on(record.get(), &goal)?;
    let mut lock = Lease::new(&connection, identity());
    let holder = lock.look().await?;
    if let Some(holder) = holder {
        if is_mine(&holder.identity) {
            lock.steal().await?;
        } else if args.steal_lock && holder.expired {
            lock.steal().await?;
            note(&format!("the lock of {} is taken over", holder.identity));
        } else {
            let advice = if holder.expired {
                "it has not renewed it in time: once it is sure that it does not run any more, give --steal-lock"
            } else {
                "wait for its end, or end it"
            };
            note(&format!("refused: {} upgrades this cluster since {}; {advice}", holder.identity, when(holder.since)));
            return Ok(NO);
        }
    }
    args.before.facts(args.hosts.over_ssh(), &goal, &mut cluster).await?;
    let checked = look_ahead(args, &cluster, &goal, ignore);
    if args.output == Format::Text {
        let detail = Detail { width: output::width(), all: false };
        output::text(&crate::report::text::check(&checked, &cluster, "cmsim check", detail))?;
    }
    if let Some(why) = refusal(args, &checked, &goal, going_on) {
        note(&format!("refused: {why}"));
        return Ok(NO);
    }
    if args.dry_run {
        dry_run::show(&connection, &goal, &cluster, now(), &args.hosts.means(), args.output).await?;
        note("dry run: nothing was changed");
        return Ok(OK);
    }
    let idle = turns(&goal, &cluster, now()).is_empty() && cluster.nodes_under_maintenance().is_empty();
    let mut attested = if going_on { record.get().attested.clone() } else { Vec::new() };
    if !idle {
        let Some(all) = args.before.attest(&attested, &person(), goal.to, now())? else { return Ok(NO) };
        attested = all;
    }
    if !args.yes {
        ensure!(std::io::stdin().is_terminal(), "this needs a yes: give --yes where there is no terminal to ask at");
        let verb = if going_on { "continue the upgrade of" } else { "upgrade" };
        if !confirm(&format!("{verb} {} to {}?", connection.server, goal.to)) {
            note("refused: not confirmed; nothing was changed");
            return Ok(NO);
        }
    }
    // Nothing is written before the lock is held: another run may have begun since it was looked at.
    if goal.lock
        && let Err(trouble) = lock.take().await
    {
        note(&format!("refused: {trouble}"));
        return Ok(NO);
    }
    let record = Record::read(&connection).await?;
    let going_on = goes_on(record.get(), &goal)?;
    let run = Run { goal, cluster, checked, going_on, idle, attested };
    act(args, run, connection, lock, record, work).await
}

/// A run that begins.
struct Run {
    goal: Goal,
    /// The cluster before it.
    cluster: Cluster,
    checked: Checked,
    /// It was begun before.
    going_on: bool,
    /// There is nothing to do.
    idle: bool,
    attested: Vec<Attested>,
}

/// The goal, with what only a run has.
fn goal(args: &Args, cluster: &Cluster) -> anyhow::Result<Goal> {
    let mut goal = args.goal.goal(cluster)?;
    if goal.accepted_disruptions == Accepted::All {
        goal.accepted_disruptions = Accepted::Named(Default::default());
    }
    goal.backup &= !args.no_backup;
    args.routing.fit(&mut goal, cluster)?;
    Ok(goal)
}

/// Whether a run that was begun is continued.
fn goes_on(record: &RunRecord, goal: &Goal) -> anyhow::Result<bool> {
    if record.id.is_empty() || record.done.is_some() {
        return Ok(false);
    }
    match record.to {
        Some(to) if to != goal.to => bail!(
            "a run to {to} was begun and has not ended; continue it with --to {to}, or end it by deleting configmap \
             kube-system/cmsim-run and the annotations cmsim.dev/run of the nodes"
        ),
        Some(_) | None => Ok(true),
    }
}

/// What `check` says now. Every disruption is let happen there, so that the whole sequence is seen.
fn look_ahead(args: &Args, cluster: &Cluster, goal: &Goal, ignore: Ignore) -> Checked {
    let goal = Goal { accepted_disruptions: Accepted::All, ..goal.clone() };
    let setup = Setup::new(cluster.clone(), goal, decide);
    let options = Options { walks: args.walks.walks as usize, seed: args.walks.seed, ignore };
    let bar = output::progress(options.walks as u64, "simulating");
    let checked = check(&setup, &options, &|| bar.inc(1));
    bar.finish_and_clear();
    checked
}

/// Why the run is not begun.
fn refusal(args: &Args, checked: &Checked, goal: &Goal, going_on: bool) -> Option<String> {
    let broken =
        checked.forecast.broken.iter().filter(|broken| broken.violation.class >= crate::judge::Class::Disruptive);
    let accepted = |object: &String| match &goal.accepted_disruptions {
        Accepted::All => true,
        Accepted::Named(names) => names.contains(object),
    };
    let mut open: Vec<String> = broken.map(|broken| broken.violation.object.to_string()).collect();
    open.sort();
    open.dedup();
    open.retain(|object| !accepted(object));
    if !open.is_empty() {
        let flags: Vec<String> = open.iter().map(|object| format!("--accept-disruption {object}")).collect();
        return Some(format!("the run interrupts applications; accept each by name: {}", flags.join(" ")));
    }
    let blocked = !errors_of(checked).is_empty() || !checked.forecast.completes;
    if blocked && !args.even_if_blocked && !going_on {
        return Some(format!(
            "the run would not finish (see above){}; put it right, or give --even-if-blocked",
            errors_of(checked)
        ));
    }
    None
}

/// Findings that speak against the run, each with its object.
fn errors_of(checked: &Checked) -> String {
    let errors = checked.findings.iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(|finding| format!("; {}={}: {}", finding.code, finding.object, finding.message)).collect()
}

async fn act(
    args: &Args,
    run: Run,
    connection: Connection,
    mut lock: Lease,
    mut record: Record,
    work: Box<dyn HostWork>,
) -> anyhow::Result<u8> {
    let Run { goal, cluster, checked, going_on, idle, attested } = run;
    let begun = now();
    let id = match going_on {
        true => record.get().id,
        false => format!("{}-{}", goal.to, jiff::Timestamp::from_millisecond(begun.0)?.strftime("%Y%m%d%H%M%S"))
            .as_str()
            .into(),
    };
    let mut backup = String::new();
    if goal.backup && !idle && !(going_on && record.get().backup_verified.is_some()) {
        match back_up_objects(&connection, &state_folder(), &id, args.before.backup_secrets).await {
            Ok(file) => backup = format!("{}:{}", host(), file.display()),
            Err(error) => {
                // If it cannot be reached, the lock ends by itself.
                let _ = lock.release().await;
                note(&format!("refused: the cluster's objects cannot be backed up; nothing was changed: {error:#}"));
                return Ok(NO);
            }
        }
    }
    let predicted: BTreeMap<String, u32> =
        checked.forecast.workloads.iter().map(|workload| (workload.key.to_string(), workload.lowest)).collect();
    if !going_on {
        let new = RunRecord {
            id,
            to: Some(goal.to),
            begun: Some(begun),
            by: identity(),
            goal: serde_json::to_value(&goal)?,
            attested,
            backup,
            predicted,
            ..RunRecord::default()
        };
        record.change(|record| *record = new).await?;
    } else {
        // What was foretold for the nodes that are done holds for the whole run.
        let goal = serde_json::to_value(&goal)?;
        record
            .change(|record| {
                (record.goal, record.by, record.attested) = (goal, identity(), attested);
                if !backup.is_empty() {
                    record.backup = backup;
                }
                for (object, lowest) in predicted {
                    let known = record.predicted.entry(object).or_insert(lowest);
                    *known = lowest.min(*known);
                }
            })
            .await?;
    }
    let journal = args.journal.clone().unwrap_or_else(|| state_folder().join(format!("{id}.jsonl")));
    let file = open_journal(&journal).with_context(|| format!("writing {}", journal.display()))?;
    let lines = Journal::new(file, args.output == Format::Json);
    let mut watch = Watch::new(record.get(), lines.clone(), args.output, &goal, !args.no_pause);
    let interrupt = Interrupt::listen();
    let routing = Routing::new(args.routing.around(), Terminal::new(watch.bar(), interrupt.clone()));
    watch.interrupt = Some(interrupt);
    let mut live = Live::new(connection, lock, record, work, routing, watch.seen(), lines);
    live.leave_out(goal.skip.iter().copied());
    live.wait_until_known().await?;
    if !going_on {
        live.clear().await?;
    }
    live.begin_again().await?;
    let ended = engine::run(&mut live, &goal, decide, &mut watch).await;
    let code = finish(&mut live, &mut watch, ended, goal.to, &journal).await?;
    watch.recap(&cluster, &checked, args.output)?;
    Ok(code)
}

/// Says how it ended, and writes it down.
async fn finish(
    live: &mut Live,
    watch: &mut Watch,
    ended: Result<End, Trouble>,
    to: Version,
    journal: &std::path::Path,
) -> anyhow::Result<u8> {
    let seen = watch.lowest();
    let lost = watch.lost(&ended);
    let reasons = watch.reasons(&ended, &live.why_failed());
    let done = matches!(ended, Ok(End::Outcome(Outcome::Done)));
    let at = now();
    // The record is for others; the run is over either way.
    let written = live
        .record()
        .change(|record| {
            record.seen = seen;
            record.reasons = reasons.clone();
            record.done = done.then_some(at);
        })
        .await;
    if let Err(trouble) = written {
        note(&format!("the record of the run could not be written: {trouble}"));
    }
    match ended {
        Ok(End::Outcome(Outcome::Done)) => {
            live.clear().await?;
            for node in watch.left() {
                note(&format!(
                    "node {node} is left as it is, out of service: the same command without --skip-node takes it up again"
                ));
            }
            note(&format!("done: the cluster is at {to}; journal: {}", journal.display()));
            Ok(OK)
        }
        Ok(End::Outcome(Outcome::Stopped(_))) => {
            note(&format!("stopped: {}", reasons.join("; ")));
            note("put it right and give the same command again: it goes on from here");
            for node in lost {
                note(&format!("once node {node} is well again: {}", command_line(None)));
                note(&format!("to leave it as it is and go on without it: {}", command_line(Some(node))));
            }
            Ok(NO)
        }
        Ok(End::Interrupted) => {
            note(&format!("interrupted: {}", reasons.join("; ")));
            note("the same command goes on from here");
            live.let_go().await;
            Ok(NO)
        }
        Err(trouble) => {
            note(&format!("stopped: {trouble}"));
            live.let_go().await;
            Ok(NO)
        }
    }
}

/// The command as it was given, and with one more node left out.
fn command_line(without: Option<Name>) -> String {
    let mut words: Vec<String> = std::env::args_os().map(|word| quoted(&word)).collect();
    words.extend(without.map(|node| format!("--skip-node {node}")));
    words.join(" ")
}

/// Who asks: `user@host:process:boot`.
fn identity() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "unknown".to_owned());
    format!("{user}@{}:{}:{}", host(), std::process::id(), boot())
}

/// `user@host`.
fn person() -> String {
    identity().rsplitn(3, ':').last().unwrap_or_default().to_owned()
}

fn host() -> String {
    let read =
        std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::fs::read_to_string("/etc/hostname"));
    read.map_or("unknown".to_owned(), |name| name.trim().to_owned())
}

fn boot() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    read.map_or(String::new(), |id| id.trim().split('-').next().unwrap_or_default().to_owned())
}

/// A holder of this very machine whose process is no more.
fn is_mine(identity: &str) -> bool {
    let mut parts = identity.rsplitn(3, ':');
    let (Some(its_boot), Some(process), Some(place)) = (parts.next(), parts.next(), parts.next()) else { return false };
    let here = place.rsplit_once('@').is_some_and(|(_, its_host)| its_host == host());
    let alive = std::path::Path::new("/proc").join(process).exists();
    here && (its_boot != boot() || !alive)
}

fn when(time: crate::cluster::Time) -> String {
    jiff::Timestamp::from_millisecond(time.0).map_or(String::new(), |time| format!("{time:.0}"))
}

/// Where runs are kept on this machine.
fn state_folder() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".local/state");
    std::env::var_os("XDG_STATE_HOME").map_or_else(home, PathBuf::from).join("cmsim")
}
