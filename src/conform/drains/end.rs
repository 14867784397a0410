//! What must hold when a recording is over: nothing that the model requires is missing, and the summary follows.

use std::collections::BTreeMap;

use crate::cluster::{BudgetId, Detail, Name, Owner, Phase};
use crate::simulator::controllers::stateful_set;
use crate::simulator::{First, Task};

use crate::conform::recording::Summary;

use super::replay::Replay;

impl Replay<'_> {
    pub(super) fn end(&mut self, summary: &Summary) {
        if summary.final_stable {
            self.obligations();
        } else {
            self.report.pass_over("obligations at the end of a run that did not come to rest");
        }
        self.placement(summary);
        self.strength(summary);
        self.blocked(summary);
    }

    /// Every component looks once more and finds nothing to do.
    fn obligations(&mut self) {
        self.report.count("obligations at the end");
        let mut open = self.unfinished_replica_sets();
        open.extend(self.unscheduled());
        let cluster = &self.world.cluster;
        for (id, workload) in cluster.workloads().filter(|(_, workload)| !workload.deleted) {
            match &workload.detail {
                Detail::StatefulSet(_) => {
                    let steps = stateful_set::plan(cluster, id, self.world.now);
                    open.extend(steps.iter().map(|step| format!("{}: {step:?}", workload.key)));
                }
                Detail::DaemonSet(_) => {
                    let trial = self.tried(cluster, Task::SyncWorkload(id));
                    let created = trial.cluster.pods().len() - cluster.pods().len();
                    if created > 0 {
                        open.push(format!("{} creates {created} pods", workload.key));
                    }
                }
                Detail::Deployment(_)
                | Detail::ReplicaSet(_)
                | Detail::ReplicationController
                | Detail::Job(_)
                | Detail::CronJob(_)
                | Detail::Other => {}
            }
        }
        let mut shared_budgets = 0;
        for index in 0..cluster.budgets().len() {
            let id = BudgetId(index as u32);
            let shared = cluster.pods_of_budget(id).iter().any(|&pod| cluster.budgets_of_pod(pod).len() > 1);
            if shared {
                shared_budgets += 1;
                continue;
            }
            let mut trial = self.trial(cluster);
            trial.apply(Task::SyncBudget(id), &mut First);
            if trial.cluster.budget(id).status != cluster.budget(id).status {
                let (before, after) = (&cluster.budget(id).status, &trial.cluster.budget(id).status);
                open.push(format!("{} becomes {after:?} from {before:?}", cluster.budget_key(id)));
            }
        }
        for (&(namespace, name), &id) in &self.pods {
            let pod = cluster.pod(id);
            let Some(node) = pod.node else { continue };
            let up = !self.away.contains_key(&node);
            let spec = cluster.spec(id);
            let held = pod.foreign_finalizer || pod.job_finalizer;
            let starts = pod.phase == Phase::Pending && !self.starts_late(id);
            if up && starts && pod.deletion.is_none() {
                open.push(format!("{namespace}/{name} runs"));
            } else if up
                && pod.phase == Phase::Running
                && !pod.ready
                && !spec.timing.never_ready
                && !pod.is_terminating()
            {
                let expected = spec.timing.ready.map_or(0.2, |length| length.as_secs_f64());
                let since = self.since.get(&id).copied().unwrap_or(0.0);
                if self.seconds() > since + expected + 3.0 && !self.is_made_unready() {
                    open.push(format!("{namespace}/{name} becomes Ready"));
                }
            } else if up && pod.is_terminating() && !held && pod.is_terminal() {
                open.push(format!("{namespace}/{name} goes away"));
            }
        }
        for _ in 0..shared_budgets {
            self.report.pass_over("last status of budgets that share pods: a pod event wakes one of them only (B.6)");
        }
        for text in open {
            self.mismatch("obligations at the end", "", text, "nothing".to_owned());
        }
    }

    fn starts_late(&self, id: crate::cluster::PodId) -> bool {
        let timing = self.world.cluster.spec(id).timing;
        let expected = timing.start.map_or(0.2, |length| length.as_secs_f64());
        self.seconds() < self.since.get(&id).copied().unwrap_or(0.0) + expected + 3.0
    }

    fn is_made_unready(&self) -> bool {
        use crate::scenario::Verb::Unready;
        let scenario = self.scenario;
        scenario.actions.iter().chain(&scenario.before).any(|action| action.verb == Unready)
    }

    /// Pods per node, without finished ones and those of DaemonSets and static pods.
    fn placement(&mut self, summary: &Summary) {
        self.report.count("final placement");
        let cluster = &self.world.cluster;
        let mut count: BTreeMap<String, u32> = BTreeMap::new();
        for &id in self.pods.values() {
            let pod = cluster.pod(id);
            let of_daemon_set = match pod.owner {
                Owner::Workload(owner) => cluster.workload(owner).as_daemon_set().is_some(),
                Owner::Missing { kind, .. } => kind == "DaemonSet",
                Owner::Node => true,
                Owner::None => pod.mirror,
            };
            if let Some(node) = pod.node
                && !pod.is_terminal()
                && !of_daemon_set
            {
                *count.entry(cluster.node(node).name().as_str().to_owned()).or_default() += 1;
            }
        }
        let mut recorded = summary.final_placement.pods_per_node.clone();
        recorded.retain(|_, pods| *pods > 0);
        if count != recorded {
            self.mismatch("final placement", "", format!("{count:?}"), format!("{recorded:?}"));
        }
    }

    /// The lowest numbers of ready pods and endpoints.
    fn strength(&mut self, summary: &Summary) {
        for (owner, &recorded) in &summary.min_ready {
            self.report.count("minimum of ready pods");
            let model = self.lowest_ready.get(owner).copied();
            if model != Some(recorded) {
                self.mismatch("minimum of ready pods", owner, format!("{model:?}"), recorded.to_string());
            }
        }
        for (service, &recorded) in &summary.min_ready_endpoints {
            self.report.count("minimum of ready endpoints");
            let id = service.split_once('/').and_then(|(ns, name)| self.find_service(ns, name));
            let model = id.map(|id| {
                let now = self.world.cluster.ready_endpoints(id);
                self.lowest_endpoints.get(&id).copied().unwrap_or(now)
            });
            if model != Some(recorded) {
                self.mismatch("minimum of ready endpoints", service, format!("{model:?}"), recorded.to_string());
            }
        }
    }

    /// Pods that were left by a drain, with the last answer that the model gives for them.
    fn blocked(&mut self, summary: &Summary) {
        for pod in &summary.blocked_pods {
            self.report.count("blocked pods");
            let id = pod.pod.split_once('/').and_then(|(ns, name)| self.pods.get(&(Name::new(ns), Name::new(name))));
            let known = id.is_some() || summary.outcome != "blocked";
            if !known {
                self.mismatch("blocked pods", &pod.pod, "it is gone".to_owned(), "left".to_owned());
            }
        }
    }
}
