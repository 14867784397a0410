//! P047: quotas without room for one more pod.

use crate::cluster::quantity::{bytes, cores};
use crate::cluster::{Name, PodSpec, Quota};
use crate::judge::About;

use super::scope::listed;
use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P047",
    name: "quota without room",
    what: "ResourceQuotas that have no room for one more of the pods that have to leave, beside those that are there.",
    why: "An evicted pod counts until it is gone, so its replacement is refused until then; the controller tries again after ever \
          longer pauses. A pod that is missing for want of quota stays missing, and budgets count it.",
    example: "`pods: 3`, and three are used: no fourth is created while one of them ends.",
    fix: "Raise the quota by one pod's demand for the time of the upgrade.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    let quotas = scope.cluster.catalog.quotas.iter().filter(|quota| !quota.scoped);
    quotas.filter_map(|quota| found(scope, quota)).collect()
}

fn found(scope: &Scope, quota: &Quota) -> Option<Finding> {
    let specs: Vec<&PodSpec> = scope
        .leaving()
        .map(|leaving| scope.cluster.spec(leaving.pod))
        .filter(|spec| spec.namespace == quota.key.namespace)
        .collect();
    let full = |&&(name, hard, used): &&(Name, i64, i64)| {
        specs.iter().filter_map(|spec| demand(&name, spec)).max().is_some_and(|most| used + most > hard)
    };
    let full: Vec<String> = quota
        .limits
        .iter()
        .filter(full)
        .map(|&(name, hard, used)| format!("{name} {} of {}", shown(&name, used), shown(&name, hard)))
        .collect();
    if full.is_empty() {
        return None;
    }
    let message = format!("used up: {}; the replacement of a pod is refused until the pod is gone", listed(full));
    let fix = format!("kubectl edit resourcequota {} --namespace {}", quota.key.name, quota.key.namespace);
    let fix = format!("raise it by what one pod asks for until the upgrade is done ({fix})");
    Some(ABOUT.finding(Severity::Warning, quota.key, message, fix))
}

/// What one more pod takes of a resource of a quota, in thousandths; `None`: nothing, or it is not known.
fn demand(resource: &str, spec: &PodSpec) -> Option<i64> {
    let amount = match resource {
        "pods" | "count/pods" => 1000,
        "cpu" | "requests.cpu" => spec.requests.milli_cpu,
        "memory" | "requests.memory" => spec.requests.memory.saturating_mul(1000),
        _ => return None,
    };
    (amount > 0).then_some(amount)
}

/// An amount of a resource of a quota, given in thousandths.
fn shown(resource: &str, thousandths: i64) -> String {
    match resource {
        "cpu" | "requests.cpu" => cores(thousandths),
        "memory" | "requests.memory" => bytes(thousandths / 1000),
        _ => (thousandths / 1000).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::tells_apart;

    #[test]
    fn one_more_pod_has_to_fit() {
        let cluster = |hard: &str, used: &str| {
            format!(
                "{{nodes: {{count: 3}}, workloads: [{{name: web, replicas: 3, cpu: 500m}}], objects: [{{kind: ResourceQuota, \
                 metadata: {{name: q, namespace: default}}, spec: {{hard: {{{hard}}}}}, status: {{used: {{{used}}}}}}}]}}"
            )
        };
        for (full, room) in [("pods: 3", "pods: 4"), ("requests.cpu: '1.9'", "requests.cpu: 2")] {
            let used = "pods: 3, requests.cpu: 1500m";
            let warning = &["Warning default/ResourceQuota/q"];
            tells_apart("P047", warning, (&cluster(full, used), "{}"), (&cluster(room, used), "{}"));
        }
    }
}
