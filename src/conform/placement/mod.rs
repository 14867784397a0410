//! Replays decisions of the real scheduler (PLACEMENTS.md): each is evaluated by the model against the state it was made in, and
//! everything that was recorded of it is compared. Then the recorded outcome is applied, so that a difference does not spread.

mod case;
mod compare;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rayon::prelude::*;

use crate::cluster::{Cluster, Name, NodeId, PodId};
use crate::import;
use crate::simulator::First;
use crate::simulator::scheduler::{Nomination, PostFilter, Scheduler, preemption};

use super::Report;
use case::{Case, Decision, State};
use compare::Compared;

/// Replays all cases below the paths.
///
/// # Errors
///
/// A path that cannot be read or holds no recorded placements.
pub fn run(paths: &[PathBuf]) -> anyhow::Result<Report> {
    let mut cases = Vec::new();
    for path in paths {
        cases.extend(read(path)?);
    }
    let reports: Vec<Report> = cases.par_iter().map(replay).collect();
    let mut report = Report::default();
    reports.into_iter().for_each(|of_case| report.add(of_case));
    Ok(report)
}

fn read(path: &Path) -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
        let entry = entry.with_context(|| format!("reading {}", path.display()))?;
        let file = entry.path();
        if entry.file_type().is_file() && file.extension().is_some_and(|extension| extension == "json") {
            let text = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
            let of_file: Vec<Case> =
                serde_json::from_slice(&text).with_context(|| format!("reading {}", file.display()))?;
            cases.extend(of_file);
        }
    }
    if cases.is_empty() {
        bail!("no recorded placements (*.json, PLACEMENTS.md) below {}", path.display());
    }
    Ok(cases)
}

fn replay(case: &Case) -> Report {
    let mut report = Report::default();
    if case.config.is_some() {
        for _ in &case.decisions {
            report.pass_over(&format!("{}: plugin arguments that differ from the default profile", case.family));
        }
        return report;
    }
    let mut state = State { objects: case.objects.clone() };
    let mut start = None;
    for (index, decision) in case.decisions.iter().enumerate() {
        state.change(&decision.before);
        let (namespace, name) = state.incoming(decision);
        let mut compared = Compared::new(&mut report, case, index);
        match import::from_objects(state.objects.iter().cloned()) {
            Err(errors) => compared.failed(&errors.to_string()),
            Ok(mut cluster) => {
                let pod = find_pod(&cluster, &namespace, &name);
                match pod {
                    None => compared.failed("the pod is not in the cluster"),
                    Some(pod) => {
                        let attempt = Attempt { case, decision, pod };
                        let superseded = attempt.replay(&mut cluster, &mut start, &mut compared);
                        for other in superseded {
                            let key = cluster.pod_key(other);
                            state.nominate((&key.namespace, &key.name), None);
                        }
                    }
                }
            }
        }
        state.conclude(decision, (&namespace, &name));
    }
    report
}

fn find_pod(cluster: &Cluster, namespace: &str, name: &str) -> Option<PodId> {
    let (namespace, name) = (Name::new(namespace), Name::new(name));
    let mut pods = cluster.pods();
    pods.find(|(id, pod)| pod.name == name && !pod.gone && cluster.spec(*id).namespace == namespace).map(|(id, _)| id)
}

/// One recorded attempt.
struct Attempt<'a> {
    case: &'a Case,
    decision: &'a Decision,
    pod: PodId,
}

impl Attempt<'_> {
    /// Compares everything. `start` is where the scan of the node list begins as the model has it. Returns the pods that lose
    /// their nomination.
    fn replay(&self, cluster: &mut Cluster, start: &mut Option<usize>, compared: &mut Compared<'_>) -> Vec<PodId> {
        compared.nominations(cluster, self.pod, self.decision);
        self.adopt_nominations(cluster);
        let mut scheduler = Scheduler::new(cluster);
        if let Some(order) = &self.case.node_order {
            compared.node_order(cluster, scheduler.node_order(), order);
        }
        if let Some(sampling) = self.decision.sampling {
            compared.start(*start, sampling.start);
            scheduler.set_start(sampling.start);
        }
        let (evaluation, post_filter) = match self.looked_at(&scheduler, cluster) {
            Some(nodes) => scheduler.evaluate_among(cluster, self.pod, &nodes, &mut First),
            None => scheduler.evaluate(cluster, self.pod, &mut First),
        };
        *start = Some(scheduler.start());
        compared.evaluation(cluster, &evaluation, self.decision, self.case.parallelism);
        compared.post_filter(cluster, self.pod, post_filter.as_ref(), self.decision);
        if let Some(chosen) = self.decision.chosen.as_deref().and_then(|node| cluster.find_node(Name::new(node))) {
            compared.claims(cluster, &scheduler, self.pod, chosen, self.decision);
        }
        match post_filter {
            Some(decided) => self.superseded(cluster, &scheduler, decided),
            None => Vec::new(),
        }
    }

    /// The nodes that were looked at, in the order of the scan, where that is left to chance.
    fn looked_at(&self, scheduler: &Scheduler, cluster: &Cluster) -> Option<Vec<NodeId>> {
        let sampling = self.decision.sampling.filter(|_| self.case.parallelism != Some(1))?;
        let (before, from) = scheduler.node_order().split_at_checked(sampling.start)?;
        let seen = |node: &NodeId| {
            let name = cluster.node(*node).name();
            self.decision.rejected.contains_key(name.as_str())
                || self.decision.feasible.iter().any(|node| name.as_str() == node)
        };
        Some(from.iter().chain(before).copied().filter(seen).collect())
    }

    /// Takes over the nominations as recorded.
    fn adopt_nominations(&self, cluster: &mut Cluster) {
        let find = |cluster: &Cluster, node: &str| cluster.find_node(Name::new(node));
        let mut recorded: Vec<(PodId, Option<NodeId>)> = cluster
            .pods()
            .filter(|(_, pod)| pod.nominated.is_some() && pod.node.is_none())
            .map(|(id, _)| (id, None))
            .collect();
        let own = self.decision.nominated_before.as_deref().and_then(|node| find(cluster, node));
        recorded.push((self.pod, own));
        for (node, pods) in &self.decision.nominated_pods {
            for pod in pods {
                let (namespace, name) = pod.split_once('/').unwrap_or(("", pod));
                recorded.extend(find_pod(cluster, namespace, name).map(|pod| (pod, find(cluster, node))));
            }
        }
        for (pod, node) in recorded {
            cluster.update_pod(pod, |pod| pod.nominated = node);
        }
    }

    /// Nominations that the recorded one takes the place of.
    fn superseded(&self, cluster: &Cluster, scheduler: &Scheduler, mut decided: PostFilter) -> Vec<PodId> {
        let Some(node) = self.decision.nominated.as_deref().and_then(|node| cluster.find_node(Name::new(node))) else {
            return Vec::new();
        };
        let Some(candidate) = decided.candidates.iter().find(|candidate| candidate.node == node) else {
            return Vec::new();
        };
        decided.victims = candidate.victims.clone();
        decided.nomination = Nomination::Node(node);
        preemption::superseded(cluster, scheduler, self.pod, &decided)
    }
}

#[cfg(test)]
#[allow(clippy::print_stderr)]
mod tests {
    use super::*;

    #[test]
    fn the_model_decides_as_the_real_scheduler() {
        let path = std::env::var_os("PLACEMENTS").map_or_else(|| PathBuf::from("fixtures/placement"), PathBuf::from);
        let report = run(&[path]).expect("the recordings can be read");
        for mismatch in report.mismatches.iter().take(400) {
            eprintln!("{mismatch}");
        }
        for (kind, number) in &report.checked {
            eprintln!("{number:6} {kind}");
        }
        for (why, number) in &report.not_modelled {
            eprintln!("{number:6} not modelled: {why}");
        }
        assert_eq!(report.mismatches.len(), 0);
        assert!(report.checked.get("decisions").is_some_and(|number| *number > 1000));
    }
}
