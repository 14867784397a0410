//! `cmsim recipe`.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command as Program, Stdio};

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::json;

use crate::cluster::Version;
use crate::recipe::{Defect, Job, Recipe, Role, Values, built_in};
use crate::report::json::API_VERSION;

use super::hosts::recipe;
use super::output::{self, Format};
use super::{NO, OK};

/// Recipes: what is done on a host to upgrade it
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cmsim recipe list
  cmsim recipe show kubeadm-apt > mine.yaml
  cmsim recipe lint mine.yaml

Exit codes: 0 fine, 1 the recipe has defects, 2 could not run.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t, global = true)]
    output: Format,
}

#[derive(Subcommand)]
enum Command {
    /// Name the recipes that come with the program
    List,
    /// Print a recipe
    Show {
        /// Name of a recipe that comes with the program, or a file
        name: String,
    },
    /// Look for defects in a recipe: unknown fields, templates that cannot be rendered, scripts that no shell reads
    Lint {
        /// File with the recipe
        file: PathBuf,
    },
}

/// Runs the subcommand.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    match &args.command {
        Command::List => list(args.output),
        Command::Show { name } => show(name, args.output),
        Command::Lint { file } => lint(file, args.output),
    }
}

fn list(format: Format) -> anyhow::Result<u8> {
    let mut recipes = Vec::new();
    for (name, _) in built_in() {
        recipes.push(recipe(name)?);
    }
    match format {
        Format::Text => {
            let lines = recipes.iter().map(|one| format!("{}  {}\n", one.name, one.description));
            output::text(&lines.collect::<String>())?;
        }
        Format::Json => {
            let names = recipes.iter().map(|one| json!({"name": one.name, "description": one.description}));
            let names: Vec<_> = names.collect();
            output::json(&json!({"apiVersion": API_VERSION, "kind": "RecipeList", "recipes": names}))?;
        }
    }
    Ok(OK)
}

fn show(name: &str, format: Format) -> anyhow::Result<u8> {
    let sound = recipe(name)?;
    match format {
        Format::Json => {
            output::json(&json!({"apiVersion": API_VERSION, "kind": "Recipe", "recipe": sound}))?;
        }
        Format::Text => match built_in().find(|(known, _)| *known == name) {
            Some((_, text)) => output::text(text)?,
            None => output::text(&std::fs::read_to_string(name)?)?,
        },
    }
    Ok(OK)
}

fn lint(file: &PathBuf, format: Format) -> anyhow::Result<u8> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let defects = match Recipe::parse(&text) {
        Ok(sound) => scripts(&sound)?,
        Err(defects) => defects,
    };
    let place = file.display();
    match format {
        Format::Text if defects.is_empty() => output::text(&format!("{place}: no defects\n"))?,
        Format::Text => {
            let lines = defects.iter().map(|defect| format!("{place}: {defect}\n"));
            output::text(&lines.collect::<String>())?;
        }
        Format::Json => output::json(&json!({
            "apiVersion": API_VERSION, "kind": "RecipeLint", "file": place.to_string(), "defects": defects,
        }))?,
    }
    Ok(if defects.is_empty() { OK } else { NO })
}

/// Scripts that this machine's shell cannot read, of every role.
fn scripts(recipe: &Recipe) -> anyhow::Result<Vec<Defect>> {
    let mut defects = Vec::new();
    for role in Role::ALL {
        let values = Values {
            node: "n1".to_owned(),
            address: "10.0.0.1".to_owned(),
            role,
            version: Version::new(37, 0),
            from: Some(Version::new(36, 0)),
            given: Default::default(),
        };
        for (job, prefix) in [(recipe.job("lint", &values), ""), (recipe.undo_job("lint", &values), "undo.")] {
            // `parse` has rendered them with other values of the same kind.
            let Job { steps, .. } = job.map_err(|defects| anyhow::anyhow!("{}", defects[0]))?;
            for step in &steps {
                for (field, script) in [("check", &step.check), ("run", &step.run), ("verify", &step.verify)] {
                    let step = step.name.clone();
                    let field = format!("{prefix}{field}");
                    defects.extend(unreadable(script)?.map(|message| Defect { step, field, message }));
                }
            }
        }
    }
    defects.sort();
    defects.dedup();
    Ok(defects)
}

/// What the shell says against a script.
fn unreadable(script: &str) -> anyhow::Result<Option<String>> {
    let mut shell = Program::new("/bin/sh")
        .arg("-n")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting /bin/sh")?;
    let Some(mut input) = shell.stdin.take() else { bail!("the shell has no input") };
    // A shell that has found a mistake need not read on.
    let _ = input.write_all(script.as_bytes());
    drop(input);
    let done = shell.wait_with_output()?;
    let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    Ok((!done.status.success()).then_some(said))
}
