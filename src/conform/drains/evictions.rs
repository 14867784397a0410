//! Eviction requests with their answers, and the status of budgets.

use crate::cluster::{BudgetId, BudgetStatus, Cluster, DisruptionReason, Name, Pod, PodId};
use crate::simulator::eviction::{self, Answer, Options};
use crate::simulator::{First, Task, World};
use crate::trace::Event;

use super::event::{Request, Status};
use super::replay::Replay;

/// A request between its sending and its answer: it took effect at one of the states within.
pub(super) struct Pending {
    pub(super) request: Request,
    /// The pod of that name when the request was sent.
    pub(super) pod: Option<PodId>,
    /// What it was like then.
    before: Option<Pod>,
    /// The model gives the recorded answer at one of the states.
    answered: bool,
    /// Answers that the model gave so far, for the report.
    given: Vec<String>,
    /// Index of the line.
    at: usize,
}

impl Replay<'_> {
    /// A request is sent.
    pub(super) fn request(&mut self, request: Request) {
        let pod = self.pods.get(&(Name::new(&request.ns), Name::new(&request.pod))).copied();
        let before = pod.map(|pod| self.world.cluster.pod(pod).clone());
        self.requests.push(Pending { request, pod, before, answered: false, given: Vec::new(), at: self.at });
    }

    /// Lets the model answer every open request at the present state.
    pub(super) fn try_requests(&mut self) {
        let mut requests = std::mem::take(&mut self.requests);
        for pending in requests.iter_mut().filter(|pending| !pending.answered) {
            let answer = match pending.pod {
                Some(pod) => {
                    let mut trial = self.trial(&self.world.cluster);
                    eviction::evict(&mut trial, pod, self.options(), &mut First)
                }
                None => {
                    let message = format!("pods \"{}\" not found", pending.request.pod);
                    Answer { code: 404, message, ..Answer::default() }
                }
            };
            pending.answered =
                agrees(&answer, &pending.request) || self.refused_with_an_old_pod(pending, &pending.request);
            let text = describe(answer.code, &answer.message, answer.causes.iter().map(|cause| cause.1.as_str()));
            if pending.given.last() != Some(&text) {
                pending.given.push(text);
            }
        }
        self.requests = requests;
    }

    /// The handler reads the pod first and its budgets later (A.2): a refusal may rest on a pod from before its deletion and on
    /// budgets from after it.
    fn refused_with_an_old_pod(&self, pending: &Pending, request: &Request) -> bool {
        let (Some(pod), Some(before), 429) = (pending.pod, &pending.before, request.code) else { return false };
        let mut trial = self.trial(&self.world.cluster);
        trial.cluster.update_pod(pod, |pod| *pod = before.clone());
        agrees(&eviction::evict(&mut trial, pod, self.options(), &mut First), request)
    }

    fn options(&self) -> Options {
        Options { grace_seconds: self.scenario.options.flags.grace, ..Options::default() }
    }

    /// Requests that were answered before this revision are over.
    pub(super) fn close_requests(&mut self, rv: u64) {
        let (over, open): (Vec<Pending>, Vec<Pending>) =
            std::mem::take(&mut self.requests).into_iter().partition(|pending| pending.request.rv_hi < rv);
        self.requests = open;
        let at = self.at;
        for pending in over {
            let Request { ns, pod, code, message, causes, .. } = &pending.request;
            let subject = format!("{ns}/{pod}");
            self.at = pending.at;
            if pending.request.is_open() {
                self.report.pass_over("evictions whose answer is not known");
                continue;
            }
            self.report.count("eviction answers");
            let recorded = describe(*code, message, causes.iter().map(|cause| cause.message.as_str()));
            if !pending.answered {
                self.mismatch("eviction answers", &subject, pending.given.join(" or "), recorded);
            } else if *code == 201
                && let Some(id) = pending.pod
                && self.world.cluster.pod(id).deletion.is_none()
                && !self.world.cluster.pod(id).gone
            {
                self.mismatch("eviction answers", &subject, "the pod is deleted".to_owned(), recorded);
            }
        }
        self.at = at;
    }

    fn pending_for(&self, pod: PodId) -> bool {
        self.requests.iter().any(|pending| pending.pod == Some(pod))
    }

    /// What an eviction of the pod would do at a state.
    fn evicted(&self, cluster: &Cluster, pod: PodId) -> World {
        let mut trial = self.trial(cluster);
        eviction::evict(&mut trial, pod, self.options(), &mut First);
        trial
    }

    /// The condition DisruptionTarget was set.
    pub(super) fn pod_disrupted(&mut self, ns: &str, pod: &str, reason: &str) {
        let Some(id) = self.find_pod(ns, pod) else { return };
        self.report.count("pod.disruptionTarget");
        let all = [
            DisruptionReason::EvictionByEvictionApi,
            DisruptionReason::PreemptionByScheduler,
            DisruptionReason::DeletionByTaintManager,
            DisruptionReason::DeletionByPodGc,
            DisruptionReason::TerminationByKubelet,
        ];
        let Some(reason) = all.into_iter().find(|known| known.as_str() == reason) else {
            self.mismatch("pod.disruptionTarget", pod, "a known reason".to_owned(), reason.to_owned());
            return;
        };
        let enabled = match reason {
            DisruptionReason::EvictionByEvictionApi => self.pending_for(id),
            DisruptionReason::PreemptionByScheduler => self.may_preempt(id),
            DisruptionReason::DeletionByTaintManager => self.taint_manager_deletes(id),
            DisruptionReason::DeletionByPodGc | DisruptionReason::TerminationByKubelet => false,
        };
        if !enabled {
            self.mismatch("pod.disruptionTarget", pod, "not enabled".to_owned(), reason.as_str().to_owned());
        }
        let now = self.world.now;
        self.world.cluster.update_pod(id, |pod| pod.disruption_target = Some((reason, now)));
        self.emit(Event::PodDisruptionTarget(id, reason));
    }

    /// The taint manager's timer of the pod has run out at one of the states.
    fn taint_manager_deletes(&self, pod: PodId) -> bool {
        let deletes = |state: &Cluster| self.tried(state, Task::TaintDelete(pod)).cluster.pod(pod).deletion.is_some();
        self.states().any(deletes)
    }

    /// Status of a budget was written: by the eviction API, which books a pod that it lets go, or by the controller.
    pub(super) fn budget_status(&mut self, status: &Status) {
        let Some(id) = self.find_budget(&status.ns, &status.pdb) else {
            self.mismatch("pdb.status", &status.pdb, "no such budget".to_owned(), "a status".to_owned());
            return;
        };
        self.report.count("pdb.status");
        let before = self.world.cluster.budget(id).status.clone();
        let added: Vec<Name> = status.disrupted_pods.iter().map(|name| Name::new(name)).collect();
        let fresh = added.iter().copied().find(|name| !before.disrupted.iter().any(|entry| entry.0 == *name));
        let possible: Vec<BudgetStatus> = match fresh {
            Some(name) => self.booked(id, name),
            None => self.synced(id, status),
        };
        if !possible.iter().any(|candidate| same(candidate, status)) {
            let model = possible.iter().take(3).map(text).collect::<Vec<_>>().join(" or ");
            let model = if model.is_empty() { "no write".to_owned() } else { model };
            self.mismatch("pdb.status", &status.pdb, model, format!("{status:?}"));
        }
        self.apply_status(id, status);
    }

    /// What the eviction API writes for a pod that it lets go. The write names the version it was made from, so it saw the
    /// present status; the pod it has read when the request came, before any conflict that it had to try again after (A.6), and
    /// books it even if somebody else has deleted it since.
    fn booked(&self, budget: BudgetId, name: Name) -> Vec<BudgetStatus> {
        let namespace = self.world.cluster.budget(budget).namespace;
        let asked =
            |pending: &&Pending| pending.request.pod == name.as_str() && pending.request.ns == namespace.as_str();
        let pods =
            self.requests.iter().filter(asked).filter_map(|pending| Some((pending.pod?, pending.before.as_ref()?)));
        let written = |(pod, before): (PodId, &Pod)| {
            let present = self.evicted(&self.world.cluster, pod);
            let mut trial = self.trial(&self.world.cluster);
            trial.cluster.update_pod(pod, |pod| *pod = before.clone());
            let read_before = self.evicted(&trial.cluster, pod);
            [present, read_before].map(|world| world.cluster.budget(budget).status.clone())
        };
        pods.flat_map(written).collect()
    }

    /// What the controller may write. It saw the present status, for the same reason, but pods as they were.
    fn synced(&self, id: BudgetId, wanted: &Status) -> Vec<BudgetStatus> {
        let now = self.world.cluster.budget(id);
        let mut possible = Vec::new();
        for state in self.states() {
            let mut trial = self.trial(state);
            if trial.cluster.budgets().len() <= id.index() {
                continue;
            }
            if trial.cluster.budget(id).limit != now.limit || trial.cluster.budget(id).generation != now.generation {
                trial.cluster.update_budget(id, |budget| *budget = now.clone());
            }
            trial.cluster.update_budget_status(id, |status| *status = now.status.clone());
            trial.apply(Task::SyncBudget(id), &mut First);
            let status = trial.cluster.budget(id).status.clone();
            let found = same(&status, wanted);
            possible.push(status);
            if found {
                break;
            }
        }
        possible.reverse();
        possible
    }

    fn apply_status(&mut self, id: BudgetId, status: &Status) {
        let now = self.world.now;
        self.world.cluster.update_budget_status(id, |own| {
            let when = |name: Name| own.disrupted.iter().find(|entry| entry.0 == name).map_or(now, |entry| entry.1);
            let names = status.disrupted_pods.iter().map(|name| Name::new(name));
            let mut disrupted: Vec<_> = names.map(|name| (name, when(name))).collect();
            disrupted.sort_unstable();
            let word = |index: usize| status.condition.get(index).map_or(Name::EMPTY, |word| Name::new(word));
            *own = BudgetStatus {
                current_healthy: status.current_healthy,
                desired_healthy: status.desired_healthy,
                expected_pods: status.expected_pods,
                disruptions_allowed: status.disruptions_allowed,
                observed_generation: status.observed_generation,
                disrupted,
                condition: (!status.condition.is_empty()).then(|| (word(0) == "True", word(1), word(2))),
            };
        });
        self.emit(Event::BudgetStatus(id));
    }

    /// A budget is gone: somebody has deleted it.
    pub(super) fn budget_gone(&mut self, ns: &str, name: &str) {
        self.report.count("pdb.gone");
        let known = self.world.cluster.budgets().any(|(id, _)| {
            self.world.cluster.budget_key(id).name == name && self.world.cluster.budget_key(id).namespace == ns
        });
        if !known {
            self.mismatch("pdb.gone", name, "no such budget".to_owned(), "gone".to_owned());
        }
        if let Some(id) = self.find_budget(ns, name) {
            if self.real.is_some() {
                self.report.pass_over("objects that somebody deletes: PodDisruptionBudget");
            } else {
                self.mismatch("pdb.gone", name, "nobody deletes it".to_owned(), "gone".to_owned());
            }
            self.world.cluster.update_budget(id, |budget| budget.gone = true);
        }
    }
}

fn agrees(answer: &Answer, request: &Request) -> bool {
    answer.code == request.code
        && answer.message == request.message
        && answer.causes.len() == request.causes.len()
        && answer.causes.iter().zip(&request.causes).all(|(a, b)| a.0 == b.reason && a.1 == b.message)
}

fn describe<'a>(code: u16, message: &str, causes: impl Iterator<Item = &'a str>) -> String {
    let causes: Vec<&str> = causes.collect();
    format!("{code} {message} {}", causes.join("; ")).trim_end().to_owned()
}

fn same(candidate: &BudgetStatus, recorded: &Status) -> bool {
    let condition = match candidate.condition {
        None => Vec::new(),
        Some((allowed, reason, message)) => {
            let all = [if allowed { "True" } else { "False" }, reason.as_str(), message.as_str()];
            let length = if message.is_empty() { 2 } else { 3 };
            all[..length].to_vec()
        }
    };
    let recorded_condition: Vec<&str> = recorded.condition.iter().map(String::as_str).collect();
    candidate.current_healthy == recorded.current_healthy
        && candidate.desired_healthy == recorded.desired_healthy
        && candidate.expected_pods == recorded.expected_pods
        && candidate.disruptions_allowed == recorded.disruptions_allowed
        && candidate.observed_generation == recorded.observed_generation
        && candidate.disrupted.iter().map(|entry| entry.0.as_str()).eq(recorded.disrupted_pods.iter())
        && condition == recorded_condition
}

fn text(status: &BudgetStatus) -> String {
    let BudgetStatus { current_healthy, desired_healthy, expected_pods, disruptions_allowed, disrupted, .. } = status;
    let names: Vec<Name> = disrupted.iter().map(|entry| entry.0).collect();
    format!(
        "current {current_healthy} desired {desired_healthy} expected {expected_pods} allowed {disruptions_allowed} \
         disrupted {names:?}"
    )
}
