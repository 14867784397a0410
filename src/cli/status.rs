//! `cmsim status`.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::live::{self, Connection, Lease, Record, Rights};
use crate::report::status::{self, State, Status};

use super::live::{LiveArgs, now, run as block_on};
use super::output::{self, Format};
use super::{NO, OK};

/// Show how a run of `cmsim apply` stands, from any machine that reaches the cluster; nothing is changed
#[derive(clap::Args)]
#[command(
    after_help = "What the run waits for is decided from the cluster as it stands now, by the engine's own decision; the process that runs it is
not asked. What only that process knows, such as the state of a job on a host, is told as far as the cluster shows it.

Examples:
  cmsim status
  cmsim status --watch
  cmsim status -o json | jq -r '.waiting[].text'

Exit codes: 0 no run, done, or somebody works on it; 1 stopped, or unfinished and nobody works on it; 2 could not run."
)]
pub struct Args {
    #[command(flatten)]
    live: LiveArgs,
    /// Look again every few seconds until nobody works on the run any more
    #[arg(short, long)]
    watch: bool,
    /// How the state is printed; json with --watch: a line for each change
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// How often `--watch` looks.
const AGAIN: Duration = Duration::from_secs(5);

/// Looks once, or until the run ends.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    block_on(show(args))
}

async fn show(args: &Args) -> anyhow::Result<u8> {
    let connection = args.live.connect().await?;
    let missing = live::missing(&connection, Rights::Status).await?;
    ensure!(
        missing.is_empty(),
        "this account may not read all that is needed: {}; see docs/rbac.yaml for the least rights",
        missing.join(", ")
    );
    let mut last: Option<Status> = None;
    loop {
        let status = look(&connection).await?;
        if last.as_ref() != Some(&status) || (args.output == Format::Text && std::io::stdout().is_terminal()) {
            print(args, &status, last.is_none())?;
        }
        if !args.watch || status.state != State::Running {
            return Ok(match status.state {
                State::None | State::Running | State::Done => OK,
                State::Stopped | State::Unfinished => NO,
            });
        }
        last = Some(status);
        tokio::time::sleep(AGAIN).await;
    }
}

/// How the run stands now.
async fn look(connection: &Connection) -> anyhow::Result<Status> {
    let record = Record::read(connection).await?;
    if record.get().id.is_empty() {
        return Ok(status::none());
    }
    let holder = Lease::new(connection, String::new()).look().await?;
    let cluster = live::read(connection, now(), |_, _| ()).await;
    let cluster = cluster.with_context(|| format!("reading the cluster from {}", connection.server))?;
    // Reading them is no right that the state of a run needs.
    let certificates = live::pending(connection).await.unwrap_or_default();
    Ok(status::status(record.get(), holder.as_ref(), cluster, &certificates, now()))
}

fn print(args: &Args, status: &Status, first: bool) -> anyhow::Result<()> {
    match args.output {
        Format::Json if args.watch => output::line(&serde_json::to_string(status)?),
        Format::Json => output::json(status),
        Format::Text => {
            let mut text = status::text(status, now(), output::width());
            if args.watch && std::io::stdout().is_terminal() {
                // A clean screen, and home.
                text.insert_str(0, "\x1b[2J\x1b[H");
            } else if !first {
                text.insert(0, '\n');
            }
            output::text(&text)
        }
    }
}
