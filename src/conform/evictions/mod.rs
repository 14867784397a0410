//! Replays the static eviction cases (DRAINS.md, `evictions/<case>.json`): what the eviction API answers, what the disruption
//! controller writes, what becomes of the pods. There is no scheduler and no kubelet in them; controllers run unless paused.

mod request;
mod stage;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;

use super::{Mismatch, Report};
use stage::Stage;

/// How many ways of settling what is left open are tried.
const WAYS: usize = 12;

/// One recorded case.
#[derive(Deserialize)]
struct Case {
    name: String,
    initial: BTreeMap<String, Vec<Value>>,
    initial_state: State,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    op: Value,
    response: Option<Value>,
    after: Option<State>,
}

/// What is there after a step.
#[derive(Deserialize)]
struct State {
    #[serde(default)]
    pdbs: BTreeMap<String, Value>,
    #[serde(default)]
    pods: Vec<Value>,
}

/// Replays all cases below the paths.
///
/// # Errors
///
/// A file that cannot be read, or a path without any case.
pub fn check(paths: &[PathBuf]) -> anyhow::Result<Report> {
    let mut report = Report::default();
    for path in paths {
        let mut found = false;
        for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
            let entry = entry.with_context(|| format!("reading {}", path.display()))?;
            if entry.path().extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let file = entry.path();
            let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
            let case = serde_json::from_slice(&bytes).with_context(|| format!("reading {}", file.display()))?;
            report.add(replay(&case).with_context(|| file.display().to_string())?);
            found = true;
        }
        anyhow::ensure!(found, "no eviction case (*.json) below {}", path.display());
    }
    Ok(report)
}

fn replay(case: &Case) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let mut stage = Stage::new(&case.initial)?;
    stage.settle_at_first();
    compare_state(&mut report, case, "initial state", &stage, &case.initial_state);
    for (number, step) in case.steps.iter().enumerate() {
        let place = format!("step {} {}", number + 1, step.op);
        // What Kubernetes leaves open (which of equal pods a controller deletes) is allowed in every way.
        let mut first = None;
        for choice in 0..WAYS {
            let mut tried = stage.clone();
            tried.choose(choice);
            let found = play(case, &place, step, &mut tried);
            let is_met = found.as_ref().is_ok_and(|found| found.mismatches.is_empty());
            if is_met || first.is_none() {
                first = Some((found, tried));
            }
            if is_met {
                break;
            }
        }
        match first {
            Some((Ok(found), played)) => {
                report.add(found);
                stage = played;
            }
            Some((Err(why), _)) => {
                report.pass_over(&why);
                break;
            }
            None => break,
        }
    }
    Ok(report)
}

/// One step. `Err`: what of it is not modelled.
fn play(case: &Case, place: &str, step: &Step, stage: &mut Stage) -> Result<Report, String> {
    let mut report = Report::default();
    let answers = stage.perform(&step.op, step.response.as_ref())?;
    let recorded: Vec<&Value> = match &step.response {
        Some(Value::Array(list)) => list.iter().collect(),
        Some(one) => vec![one],
        None => Vec::new(),
    };
    for (answer, recorded) in answers.iter().zip(&recorded) {
        compare(&mut report, case, place, "answer", stage.written(answer), answer_of(recorded));
    }
    stage.settle();
    if let Some(after) = &step.after {
        compare_state(&mut report, case, place, stage, after);
    }
    Ok(report)
}

fn compare_state(report: &mut Report, case: &Case, place: &str, stage: &Stage, recorded: &State) {
    let recorded_budgets: BTreeMap<_, _> =
        recorded.pdbs.iter().map(|(name, budget)| (name.clone(), stage::recorded_budget(budget))).collect();
    let (mut budgets, mut pods) = (stage.budgets(), stage.pods());
    let recorded_pods: BTreeMap<_, _> = recorded.pods.iter().map(stage::recorded_pod).collect();
    for (name, recorded) in recorded_budgets {
        compare(report, case, place, "budget", budgets.remove(&name).unwrap_or_default(), recorded);
    }
    for (alias, recorded) in recorded_pods {
        compare(report, case, place, "pod", pods.remove(&alias).unwrap_or_default(), recorded);
    }
    for (_, extra) in budgets.into_iter().chain(pods) {
        compare(report, case, place, "object", extra, String::new());
    }
}

fn compare(report: &mut Report, case: &Case, place: &str, kind: &str, model: String, recorded: String) {
    report.count(kind);
    if model != recorded {
        let (recording, place, kind) = (case.name.clone(), place.to_owned(), kind.to_owned());
        report.mismatches.push(Mismatch { recording, place, kind, model, recorded });
    }
}

/// A recorded answer as one line.
fn answer_of(recorded: &Value) -> String {
    let text = |value: &Value, pointer: &str| {
        value.pointer(pointer).and_then(Value::as_str).map(hide_versions).unwrap_or_default()
    };
    let causes = recorded.pointer("/body/details/causes").and_then(Value::as_array).into_iter().flatten();
    let causes: Vec<_> = causes.map(|cause| (text(cause, "/reason"), text(cause, "/message"))).collect();
    let retry = recorded.pointer("/body/details/retryAfterSeconds").and_then(Value::as_u64).unwrap_or(0);
    let header = text(recorded, "/retry_after_header").parse::<u64>().unwrap_or(0);
    let code = recorded.get("code").and_then(Value::as_u64).unwrap_or(0);
    let (reason, message) = (text(recorded, "/body/reason"), text(recorded, "/body/message"));
    format!("{code} {reason:?} {message:?} {causes:?} retry {retry} header {header}")
}

/// Uids and resourceVersions, which the model does not have, are left out of a message.
fn hide_versions(message: &str) -> String {
    let mut text = message.to_owned();
    for what in ["in the precondition (", "in record ("] {
        if let Some(start) = text.find(what).map(|found| found + what.len() - 2)
            && let Some(length) = text[start..].find(')')
        {
            text.replace_range(start..=start + length, "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_cases_are_met() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/evictions");
        let report = check(&[folder]).expect("the fixtures can be read");
        let lines: Vec<String> = report.mismatches.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "{} mismatches:\n{}", lines.len(), lines.join("\n"));
        assert!(report.checked["answer"] > 250 && report.checked["pod"] > 1000, "{:?}", report.checked);
        assert!(report.not_modelled.is_empty(), "{:?}", report.not_modelled);
    }
}
