//! `cmsim explain`.

use anyhow::bail;

use crate::judge::About;

use super::OK;
use super::input::meant;
use super::output::{self, Format};

/// Explain a finding or rule: what it checks, why it matters, an example, the way out
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cmsim explain J001
  cmsim explain                     # list all codes
  cmsim explain -o json | jq '.codes[].code'

Exit codes: 0 explained, 2 no such code.")]
pub struct Args {
    /// Code of a finding (P...) or rule (J...), or its name; all are listed when it is left out
    code: Option<String>,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Prints one text or the list.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    let mut abouts: Vec<About> = crate::preflight::abouts().into_iter().chain(crate::judge::abouts()).collect();
    if let Some(code) = &args.code {
        let known: Vec<String> =
            abouts.iter().flat_map(|about| [about.code.to_owned(), about.name.to_owned()]).collect();
        abouts.retain(|about| about.code.eq_ignore_ascii_case(code) || about.name.eq_ignore_ascii_case(code));
        if abouts.is_empty() {
            let hint = meant(code, known.iter().map(String::as_str));
            bail!("no finding or rule has the code {code:?}{hint}; `cmsim explain` lists all codes");
        }
    }
    match args.output {
        Format::Json => output::json(&json(&abouts))?,
        Format::Text if args.code.is_none() => {
            let lines = abouts.iter().map(|about| format!("{}  {}\n", about.code, about.name));
            output::text(&lines.collect::<String>())?;
        }
        Format::Text => output::text(&abouts.iter().map(text).collect::<String>())?,
    }
    Ok(OK)
}

fn text(about: &About) -> String {
    let About { code, name, what, why, example, fix } = about;
    format!("{code} {name}\n\nWhat:    {what}\nWhy:     {why}\nExample: {example}\nWay out: {fix}\n")
}

fn json(abouts: &[About]) -> serde_json::Value {
    let codes = abouts.iter().map(|about| {
        let About { code, name, what, why, example, fix } = about;
        serde_json::json!({"code": code, "name": name, "what": what, "why": why, "example": example, "fix": fix})
    });
    serde_json::json!({
        "apiVersion": crate::report::json::API_VERSION, "kind": "ExplainResult", "codes": codes.collect::<Vec<_>>(),
    })
}
