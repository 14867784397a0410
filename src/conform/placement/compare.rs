//! Compares one recorded attempt with the model's, fact by fact.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use crate::cluster::{Cluster, Name, NodeId, PodId, PodSpec};
use crate::conform::{Mismatch, Report};
use crate::simulator::scheduler::{
    Code, Evaluation, Nomination, PostFilter, PreFilter, Rejection, Scheduler, Unhelpful, volume,
};

use super::case::{self, Case, Decision};

/// Counts and collects what one attempt shows.
pub(super) struct Compared<'a> {
    report: &'a mut Report,
    recording: String,
    place: String,
    family: String,
    before: usize,
}

/// A rejection in upstream's words: plugin, reasons as a set, code.
type Words = (String, BTreeSet<String>, &'static str);

fn words(rejection: &Rejection, spec: &PodSpec) -> Words {
    (rejection.plugin.name().to_owned(), rejection.reasons(spec).into_iter().collect(), code(rejection.code))
}

fn code(code: Code) -> &'static str {
    match code {
        Code::Unschedulable => "Unschedulable",
        Code::Unresolvable => "UnschedulableAndUnresolvable",
    }
}

fn recorded_words(rejection: &case::Rejection) -> Words {
    let code = [code(Code::Unschedulable), code(Code::Unresolvable)].into_iter().find(|known| *known == rejection.code);
    let reasons = rejection.reason.split(", ").map(str::to_owned).collect();
    (rejection.plugin.clone(), reasons, code.unwrap_or("another code"))
}

fn names(cluster: &Cluster, nodes: &[NodeId]) -> Vec<String> {
    nodes.iter().map(|&node| cluster.node(node).name().to_string()).collect()
}

fn pod_names(cluster: &Cluster, pods: &[PodId]) -> Vec<String> {
    let name = |&pod: &PodId| format!("{}/{}", cluster.spec(pod).namespace, cluster.pod(pod).name);
    pods.iter().map(name).collect()
}

impl<'a> Compared<'a> {
    pub(super) fn new(report: &'a mut Report, case: &Case, index: usize) -> Compared<'a> {
        report.count("decisions");
        report.count(&format!("decisions: {}", case.family));
        let before = report.mismatches.len();
        let place = format!("decision {index}");
        Compared { report, recording: case.name.clone(), place, family: case.family.clone(), before }
    }

    /// The attempt could not be replayed at all.
    pub(super) fn failed(&mut self, why: &str) {
        self.mismatch("replay", why.to_owned(), "a decision".to_owned());
    }

    fn mismatch(&mut self, kind: &str, model: String, recorded: String) {
        let (recording, place) = (self.recording.clone(), self.place.clone());
        self.report.mismatches.push(Mismatch { recording, place, kind: kind.to_owned(), model, recorded });
    }

    fn equal<T: PartialEq + Debug>(&mut self, kind: &str, model: &T, recorded: &T) {
        self.report.count(kind);
        if model != recorded {
            self.mismatch(kind, format!("{model:?}"), format!("{recorded:?}"));
        }
    }

    /// Compares two maps and shows only the entries that differ.
    fn equal_maps<T: PartialEq + Debug + Clone>(
        &mut self,
        kind: &str,
        mut model: BTreeMap<String, T>,
        mut recorded: BTreeMap<String, T>,
    ) {
        self.report.count(kind);
        let same: Vec<String> = model
            .iter()
            .filter(|(key, value)| recorded.get(*key) == Some(value))
            .map(|entry| entry.0.clone())
            .collect();
        for key in same {
            model.remove(&key);
            recorded.remove(&key);
        }
        if !model.is_empty() || !recorded.is_empty() {
            self.mismatch(kind, format!("{model:?}"), format!("{recorded:?}"));
        }
    }

    /// The nominations that stand before the attempt.
    pub(super) fn nominations(&mut self, cluster: &Cluster, pod: PodId, decision: &Decision) {
        let node_name = |node: NodeId| cluster.node(node).name().to_string();
        let own = cluster.pod(pod).nominated.map(node_name);
        self.equal("nomination before", &own, &decision.nominated_before);
        let mut others: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (id, other) in cluster.pods() {
            if let Some(node) = other.nominated.filter(|_| id != pod && other.node.is_none() && !other.gone) {
                others.entry(node_name(node)).or_default().extend(pod_names(cluster, &[id]));
            }
        }
        self.equal_maps("nominations of others", others, decision.nominated_pods.clone());
    }

    pub(super) fn node_order(&mut self, cluster: &Cluster, model: &[NodeId], recorded: &[String]) {
        self.equal("node order", &names(cluster, model), &recorded.to_vec());
    }

    /// The first start of a case is left over from the case before.
    pub(super) fn start(&mut self, model: Option<usize>, recorded: usize) {
        if let Some(model) = model {
            self.equal("start of the scan", &model, &recorded);
        }
    }

    pub(super) fn evaluation(
        &mut self,
        cluster: &Cluster,
        model: &Evaluation,
        recorded: &Decision,
        workers: Option<u32>,
    ) {
        let spec = cluster.spec(model.pod);
        self.prefilter(cluster, model, recorded, spec);
        self.equal("nominated node only", &model.nominated_only, &recorded.nominated_only);
        if let Some(sampling) = recorded.sampling {
            self.equal("nodes to find", &(model.sampling.to_find, model.sampling.of), &(sampling.to_find, sampling.of));
        }
        let mut feasible = names(cluster, &model.feasible);
        let mut expected = recorded.feasible.clone();
        if workers != Some(1) {
            feasible.sort();
            expected.sort();
        }
        self.equal("feasible nodes", &feasible, &expected);
        self.rejections(cluster, model, recorded, spec);
        let feasible = names(cluster, &model.feasible);
        let by_node = |values: &[i64]| feasible.iter().cloned().zip(values.iter().copied()).collect();
        let mut recorded_scores = recorded.scores.clone();
        // The model has no claims on devices; upstream's plugin gives 0 to every node then.
        recorded_scores
            .retain(|plugin, scores| plugin != "DynamicResources" || scores.values().any(|score| *score != 0));
        let plugins: BTreeSet<String> = recorded_scores
            .keys()
            .cloned()
            .chain(model.scores.iter().map(|(plugin, _)| plugin.name().to_owned()))
            .collect();
        for plugin in plugins {
            let of_model = model.scores.iter().find(|(scored, _)| scored.name() == plugin);
            let of_model: BTreeMap<String, i64> = of_model.map(|(_, scores)| by_node(scores)).unwrap_or_default();
            self.equal_maps(
                &format!("score of {plugin}"),
                of_model,
                recorded_scores.remove(&plugin).unwrap_or_default(),
            );
        }
        self.equal_maps("totals", by_node(&model.totals), recorded.totals.clone());
        self.chosen(&feasible, model, recorded);
        let message = model.feasible.is_empty().then(|| model.message(spec));
        self.equal("message", &message, &recorded.message);
    }

    fn prefilter(&mut self, cluster: &Cluster, model: &Evaluation, recorded: &Decision, spec: &PodSpec) {
        let of_model = match &model.prefilter {
            None => (None, BTreeSet::new()),
            Some(PreFilter::Rejected(rejection)) => (Some(words(rejection, spec)), BTreeSet::new()),
            Some(PreFilter::Narrowed { nodes }) => (None, names(cluster, nodes).into_iter().collect()),
        };
        let expected = match &recorded.prefilter {
            None => (None, BTreeSet::new()),
            Some(case::PreFilter::Rejected(rejection)) => (Some(recorded_words(rejection)), BTreeSet::new()),
            // Upstream lists names that no node has as well.
            Some(case::PreFilter::Narrowed { nodes }) => {
                let exists = |node: &&String| cluster.find_node(Name::new(node)).is_some();
                (None, nodes.iter().filter(exists).cloned().collect())
            }
        };
        self.equal("prefilter", &of_model, &expected);
    }

    fn rejections(&mut self, cluster: &Cluster, model: &Evaluation, recorded: &Decision, spec: &PodSpec) {
        let mut of_model: BTreeMap<String, Words> = model
            .rejected
            .iter()
            .map(|(node, rejection)| (cluster.node(*node).name().to_string(), words(rejection, spec)))
            .collect();
        for (id, node) in cluster.nodes().filter(|(_, node)| !node.gone) {
            let said = match &model.prefilter {
                None => None,
                Some(PreFilter::Rejected(rejection)) => Some(words(rejection, spec)),
                Some(PreFilter::Narrowed { nodes }) => (!nodes.contains(&id)).then(|| {
                    let reason = "node(s) didn't satisfy plugin(s) [NodeAffinity]".to_owned();
                    ("NodeAffinity".to_owned(), BTreeSet::from([reason]), code(Code::Unresolvable))
                }),
            };
            if let Some(said) = said {
                of_model.insert(node.name().to_string(), said);
            }
        }
        let expected =
            recorded.rejected.iter().map(|(node, rejection)| (node.clone(), recorded_words(rejection))).collect();
        self.equal_maps("rejected nodes", of_model, expected);
    }

    /// Among equals the choice is free.
    fn chosen(&mut self, feasible: &[String], model: &Evaluation, recorded: &Decision) {
        self.report.count("chosen node");
        let best: Vec<&String> = model.best.iter().filter_map(|&position| feasible.get(position)).collect();
        let fits = match &recorded.chosen {
            Some(chosen) => best.contains(&chosen),
            None => best.is_empty(),
        };
        if !fits {
            self.mismatch("chosen node", format!("one of {best:?}"), format!("{:?}", recorded.chosen));
        }
    }

    pub(super) fn post_filter(
        &mut self,
        cluster: &Cluster,
        pod: PodId,
        model: Option<&PostFilter>,
        recorded: &Decision,
    ) {
        let spec = cluster.spec(pod);
        self.equal("text of preemption", &model.map(|model| model.message.clone()), &recorded.postfilter);
        let Some(model) = model else {
            self.equal("nominated node", &None, &recorded.nominated);
            return;
        };
        let candidates: BTreeMap<String, (Vec<String>, usize)> = model
            .candidates
            .iter()
            .map(|candidate| {
                let victims = pod_names(cluster, &candidate.victims);
                (cluster.node(candidate.node).name().to_string(), (victims, candidate.violations))
            })
            .collect();
        let unhelpful: BTreeMap<String, Words> = model
            .unhelpful
            .iter()
            .map(|(node, why)| {
                let said = match why {
                    Unhelpful::NoVictims => {
                        let reason = "No preemption victims found for incoming pod".to_owned();
                        (String::new(), BTreeSet::from([reason]), code(Code::Unresolvable))
                    }
                    Unhelpful::Rejected(rejection) => words(rejection, spec),
                };
                (cluster.node(*node).name().to_string(), said)
            })
            .collect();
        let (mut expected, mut in_vain) = (BTreeMap::new(), BTreeMap::new());
        if let Some(preemption) = &recorded.preemption {
            let tried = |candidate: &case::Candidate| (candidate.victims.clone(), candidate.pdb_violations);
            expected.extend(preemption.candidates.iter().map(|(node, candidate)| (node.clone(), tried(candidate))));
            in_vain.extend(preemption.unhelpful.iter().map(|(node, why)| (node.clone(), recorded_words(why))));
        }
        self.equal_maps("candidates of preemption", candidates.clone(), expected);
        self.equal_maps("nodes that preemption does not help", unhelpful, in_vain);
        self.nomination(cluster, pod, model, recorded);
        if let Some(nominated) = recorded.nominated.as_ref().filter(|_| !model.candidates.is_empty()) {
            let victims = candidates.get(nominated).map(|candidate| candidate.0.clone()).unwrap_or_default();
            self.equal("victims", &victims, &recorded.victims);
        } else {
            self.equal("victims", &pod_names(cluster, &model.victims), &recorded.victims);
        }
    }

    fn nomination(&mut self, cluster: &Cluster, pod: PodId, model: &PostFilter, recorded: &Decision) {
        let node_name = |node: NodeId| cluster.node(node).name().to_string();
        let of_model = match model.nomination {
            Nomination::Unchanged => cluster.pod(pod).nominated.map(node_name),
            Nomination::Cleared => None,
            Nomination::Node(node) => {
                let best: Vec<String> =
                    model.best.iter().map(|&position| node_name(model.candidates[position].node)).collect();
                let recorded = recorded.nominated.clone().filter(|nominated| best.contains(nominated));
                recorded.or_else(|| Some(node_name(node)))
            }
        };
        self.equal("nominated node", &of_model, &recorded.nominated);
    }

    /// What becomes of the pod's claims. Volumes that a provisioner makes have names of its own.
    pub(super) fn claims(
        &mut self,
        cluster: &Cluster,
        scheduler: &Scheduler,
        pod: PodId,
        chosen: NodeId,
        recorded: &Decision,
    ) {
        let expected: BTreeMap<String, String> = recorded
            .after
            .upsert
            .iter()
            .filter(|object| object["kind"] == "PersistentVolumeClaim")
            .map(|claim| {
                let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
                let name = format!("{}/{}", text(&claim["metadata"]["namespace"]), text(&claim["metadata"]["name"]));
                let volume = Name::new(&text(&claim["spec"]["volumeName"]));
                (name, self.volume_in(cluster, volume))
            })
            .collect();
        let mut after = cluster.clone();
        if let Ok(Some(volumes)) = volume::pre_filter(scheduler, cluster, pod) {
            volumes.bind(&mut after, pod, chosen);
        }
        let changed = cluster.claims().zip(after.claims()).filter(|((_, was), (_, is))| was != is);
        let of_model: BTreeMap<String, String> = changed
            .map(|(_, (_, claim))| {
                (format!("{}/{}", claim.namespace, claim.name), self.volume_in(cluster, claim.volume))
            })
            .collect();
        self.equal_maps("claims bound", of_model, expected);
    }

    /// Name of a volume that was there before.
    fn volume_in(&self, cluster: &Cluster, volume: Name) -> String {
        let known = cluster.find_volume(volume).is_some();
        if known { volume.to_string() } else { "a new volume".to_owned() }
    }
}

impl Drop for Compared<'_> {
    fn drop(&mut self) {
        if self.report.mismatches.len() == self.before {
            self.report.count("decisions without a mismatch");
            self.report.count(&format!("decisions without a mismatch: {}", self.family));
        }
    }
}
