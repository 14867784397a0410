//! `cmsim explain`.

use std::fmt::Write as _;

use anyhow::bail;

use crate::judge::About;

use super::{OK, output};

/// Explain a finding or rule: what it checks, why it matters, an example, the way out
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  cmsim explain P003\n  cmsim explain            # list all codes")]
pub struct Args {
    /// Code of a finding or rule, for example P003 or J001; all are listed when it is left out
    code: Option<String>,
}

/// Prints one text or the list.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    let abouts: Vec<About> = crate::preflight::abouts().into_iter().chain(crate::judge::abouts()).collect();
    let mut out = String::new();
    match &args.code {
        None => {
            for about in &abouts {
                let _ = writeln!(out, "{}  {}", about.code, about.name);
            }
        }
        Some(code) => {
            let Some(about) = abouts.iter().find(|about| about.code.eq_ignore_ascii_case(code)) else {
                bail!("no finding or rule has the code {code:?}; `cmsim explain` lists all codes");
            };
            let About { code, name, what, why, example, fix } = about;
            let _ =
                writeln!(out, "{code} {name}\n\nWhat:    {what}\nWhy:     {why}\nExample: {example}\nWay out: {fix}");
        }
    }
    output::text(&out)?;
    Ok(OK)
}
