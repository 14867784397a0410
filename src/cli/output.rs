//! Printing: results to stdout, everything else to stderr; colour only where it is wanted.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// How a result is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For scripts; the schema is documented in docs/.
    Json,
}

/// Prints a text result. Styles are dropped unless stdout is a terminal that wants them (`NO_COLOR` is honoured).
pub fn text(text: &str) -> anyhow::Result<()> {
    finish(anstream::stdout().write_all(text.as_bytes()))
}

/// Prints a result as JSON.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec_pretty(value)?;
    line.push(b'\n');
    finish(std::io::stdout().write_all(&line))
}

/// Prints one line of a stream of JSON.
pub fn line(line: &str) -> anyhow::Result<()> {
    finish(writeln!(std::io::stdout(), "{line}"))
}

/// A reader that has gone away (`cmsim ... | head`) is no error.
fn finish(written: std::io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::from(error).context("writing the result"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints an error with its causes to stderr.
pub fn error(error: &anyhow::Error) {
    let mut text = format!("error: {error}\n");
    for cause in error.chain().skip(1) {
        text.push_str(&format!("  caused by: {cause}\n"));
    }
    // Nothing can be done about a closed stderr.
    let _ = anstream::stderr().write_all(text.as_bytes());
}

/// Columns of the terminal; `None` when the result goes elsewhere.
pub fn width() -> Option<u16> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    terminal_size::terminal_size().map(|(width, _)| width.0)
}

/// A progress bar on stderr, shown only on a terminal.
pub fn progress(total: u64, what: &'static str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {elapsed} eta {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(what);
    bar
}

/// Shows that something of unknown length goes on: on stderr, only on a terminal.
pub fn spinner(what: &'static str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Does something of unknown length and shows meanwhile that it goes on.
pub fn spinning<T>(what: &'static str, work: impl FnOnce() -> T) -> T {
    let bar = spinner(what);
    let done = work();
    bar.finish_and_clear();
    done
}

/// Asks a question that is answered with yes or no; anything but `y` or `yes` is no.
pub fn confirm(question: &str) -> bool {
    note(&format!("{question} [y/N]"));
    let mut answer = String::new();
    let _ = std::io::stdin().read_line(&mut answer);
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

/// Tells the user something that is no part of the result.
pub fn note(text: &str) {
    // Nothing can be done about a closed stderr.
    let _ = writeln!(anstream::stderr(), "{text}");
}
