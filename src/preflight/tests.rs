//! Every rule on a cluster that it is about, and on the same cluster put right.

use std::path::PathBuf;

use super::*;
use crate::simulations::Case;

/// What the rules find in a cluster in short form (simulations/README.md) under a goal.
pub(super) fn found(cluster: &str, goal: &str) -> Vec<Finding> {
    let text = format!("{{story: test, cluster: {cluster}, goal: {goal}, expect: {{verdict: blocked}}}}");
    let setup = Case::parse("test", PathBuf::new(), &text).and_then(|case| case.setup());
    let setup = setup.unwrap_or_else(|error| panic!("{text}: {error:#}"));
    run(&setup.goal, &setup.cluster, setup.start)
}

/// Objects that a rule names, with the severity.
pub(super) fn named(code: &str, cluster: &str, goal: &str) -> Vec<String> {
    let of_rule = found(cluster, goal).into_iter().filter(|finding| finding.code == code);
    of_rule.map(|finding| format!("{:?} {}", finding.severity, finding.object)).collect()
}

/// The rule names these objects in the first cluster and nothing in the second.
#[track_caller]
pub(super) fn tells_apart(code: &str, expected: &[&str], troubled: (&str, &str), right: (&str, &str)) {
    assert_eq!(named(code, troubled.0, troubled.1), expected, "{code} {troubled:?}");
    assert_eq!(named(code, right.0, right.1), [""; 0], "{code} {right:?}");
}

/// A cluster of 1.36 with two workers, and facts about the host of the first.
pub(super) fn host(facts: &str) -> String {
    format!("{{version: v1.36.2, nodes: {{count: 2}}, hosts: {{n1: {{{facts}}}}}}}")
}

fn workloads(list: &str) -> String {
    format!("{{nodes: {{count: 3}}, workloads: [{list}]}}")
}

#[track_caller]
fn of_workloads(code: &str, expected: &[&str], troubled: &str, right: &str) {
    tells_apart(code, expected, (&workloads(troubled), "{}"), (&workloads(right), "{}"));
}

#[test]
fn pods_without_controller() {
    let shell = "{name: shell, kind: Pod, on: [n1]}";
    of_workloads("P001", &["Error default/Pod/shell"], shell, "{name: shell, replicas: 2}");
    let cluster = workloads(shell);
    tells_apart("P001", &["Warning default/Pod/shell"], (&cluster, "{force: true}"), (&cluster, "{skip: [n1]}"));
}

#[test]
fn empty_dirs() {
    let cluster = workloads("{name: cache, replicas: 1, emptyDir: true, on: [n1]}");
    let severities: Vec<Severity> =
        found(&cluster, "{}").into_iter().filter(|f| f.code == "P002").map(|f| f.severity).collect();
    assert_eq!(severities, [Severity::Error]);
    let severities =
        found(&cluster, "{deleteEmptydirData: true}").into_iter().filter(|f| f.code == "P002").map(|f| f.severity);
    assert!(severities.eq([Severity::Info]), "allowed by the goal");
    assert_eq!(named("P002", &cluster, "{skip: [n1]}"), [""; 0]);
}

#[test]
fn budgets_that_never_allow() {
    let web = |replicas: u32, budget: &str| format!("{{name: web, replicas: {replicas}, budgets: [{{{budget}}}]}}");
    let named = ["Error default/PodDisruptionBudget/web"];
    of_workloads("P003", &named, &web(1, "minAvailable: 1"), &web(2, "minAvailable: 1"));
    of_workloads("P003", &named, &web(3, "maxUnavailable: 0"), &web(3, "maxUnavailable: 1"));
    of_workloads("P003", &named, &web(3, "minAvailable: 80%"), &web(5, "minAvailable: 80%"));
    let cluster = workloads(&web(1, "minAvailable: 1"));
    let past = "{disableEviction: true}";
    tells_apart("P003", &named, (&cluster, "{}"), (&cluster, past));
}

#[test]
fn two_budgets_of_a_pod() {
    let web = |budgets: &str| format!("{{name: web, replicas: 2, on: [n1, n2], budgets: [{budgets}]}}");
    let both = workloads(&web("{maxUnavailable: 1}, {minAvailable: 1}"));
    let found = named("P004", &both, "{}");
    assert!(!found.is_empty() && found.iter().all(|one| one.starts_with("Error ")), "{found:?}");
    assert_eq!(named("P004", &workloads(&web("{maxUnavailable: 1}")), "{}"), [""; 0]);
}

#[test]
fn budgets_that_cannot_be_counted() {
    let agent = |budget: &str| format!("{{name: agent, kind: Job, replicas: 2, budgets: [{{{budget}}}]}}");
    let cluster = workloads(&agent("maxUnavailable: 1"));
    assert_eq!(named("P005", &cluster, "{}"), ["Error default/PodDisruptionBudget/agent"]);
    assert_eq!(named("P005", &workloads(&agent("minAvailable: 1")), "{}"), [""; 0]);
}

#[test]
fn budgets_without_room_now() {
    let web = |broken: u32| format!("{{name: web, replicas: 3, broken: {broken}, budgets: [{{minAvailable: 2}}]}}");
    of_workloads("P006", &["Warning default/PodDisruptionBudget/web"], &web(1), &web(0));
}

#[test]
fn daemon_sets_that_the_goal_does_not_ignore() {
    let cluster = workloads("{name: agent, kind: DaemonSet}");
    let refused = ["Error default/DaemonSet/agent"];
    tells_apart("P007", &refused, (&cluster, "{ignoreDaemonsets: false}"), (&cluster, "{}"));
}

#[test]
fn data_in_host_paths() {
    let web = |path: &str| {
        format!("{{name: web, replicas: 2, podSpec: {{volumes: [{{name: d, hostPath: {{path: {path}}}}}]}}}}")
    };
    of_workloads("P008", &["Warning default/Deployment/web"], &web("/srv/data"), &web("/etc/ssl/certs"));
}

#[test]
fn single_replicas() {
    let named = ["Warning default/Deployment/web"];
    of_workloads("P009", &named, "{name: web, replicas: 1}", "{name: web, replicas: 2}");
}

#[test]
fn all_pods_on_one_node() {
    let cluster = |on: &str| workloads(&format!("{{name: web, replicas: 2, on: [{on}]}}"));
    let (together, apart) = (cluster("n1, n1"), cluster("n1, n2"));
    let budgets = "{pacing: budgets}";
    tells_apart("P010", &["Warning default/Deployment/web"], (&together, budgets), (&apart, budgets));
    assert_eq!(
        named("P010", &together, "{}"),
        ["Info default/Deployment/web"],
        "floors let them go one after the other"
    );
}

#[test]
fn pinned_pods() {
    let web =
        |selector: &str| format!("{{name: web, replicas: 1, on: [n1], podSpec: {{nodeSelector: {{{selector}}}}}}}");
    let named = ["Warning default/Deployment/web"];
    of_workloads("P011", &named, &web("kubernetes.io/hostname: n1"), "{name: web, replicas: 1, on: [n1]}");
}

#[test]
fn too_few_nodes() {
    let web = "workloads: [{name: web, replicas: 1, on: [n1]}]";
    let (one, two) = (format!("{{nodes: {{count: 1}}, {web}}}"), format!("{{nodes: {{count: 2}}, {web}}}"));
    tells_apart("P012", &["Warning Cluster/cluster"], (&one, "{}"), (&two, "{}"));
}

#[test]
fn services_of_a_daemon_set_on_one_node() {
    let cluster = |count: u32| {
        format!("{{nodes: {{count: {count}}}, workloads: [{{name: cache, kind: DaemonSet, service: true}}]}}")
    };
    let (one, two) = (cluster(1), cluster(2));
    tells_apart("P013", &["Warning default/Service/cache"], (&one, "{}"), (&two, "{}"));
}

#[test]
fn nodes_in_a_poor_state() {
    let with = |own: &str| format!("{{nodes: {{count: 3, overrides: {{n2: {{{own}}}}}}}}}");
    let right = "{nodes: {count: 3}}";
    tells_apart("P014", &["Warning Node/n2"], (&with("notReady: true"), "{}"), (right, "{}"));
    tells_apart("P015", &["Info Node/n2"], (&with("cordoned: true"), "{}"), (right, "{}"));
    let leaving = with("taints: ['ToBeDeletedByClusterAutoscaler:NoSchedule']");
    let dedicated = with("taints: ['dedicated=gpu:NoSchedule']");
    tells_apart("P016", &["Warning Node/n2"], (&leaving, "{}"), (&dedicated, "{}"));
}

#[test]
fn no_room_while_a_node_is_out() {
    let cluster = |cpu: &str| format!("{{nodes: {{count: 3}}, workloads: [{{name: web, replicas: 9, cpu: {cpu}}}]}}");
    let (full, roomy) = (cluster("1100m"), cluster("500m"));
    let found = named("P017", &full, "{}");
    assert!(!found.is_empty() && found.iter().all(|one| one.starts_with("Warning Node/")), "{found:?}");
    assert_eq!(named("P017", &roomy, "{}"), [""; 0]);
}

#[test]
fn rough_ends() {
    let web = |more: &str| format!("{{name: web, replicas: 2, {more}}}");
    let named = ["Warning default/Deployment/web"];
    of_workloads("P018", &named, &web("grace: 0"), &web("grace: 30"));
    of_workloads("P018", &named, &web("grace: 10, preStop: 15"), &web("grace: 30, preStop: 15"));
    of_workloads("P018", &["Info default/Deployment/web"], &web("service: true"), &web("service: true, preStop: 5"));
}

#[test]
fn services_without_readiness_probes() {
    let web = "{name: web, replicas: 2, service: true}";
    of_workloads("P019", &["Info default/Deployment/web"], web, "{name: web, replicas: 2}");
}

/// No rule cries wolf.
#[test]
fn a_sound_cluster_has_no_warning() {
    let cluster = "{nodes: {count: 4, controlPlane: 3, zones: [a, b]}, workloads: [\
                   {name: web, replicas: 4, budgets: [{maxUnavailable: 1}], service: true, preStop: 5}, \
                   {name: db, kind: StatefulSet, replicas: 3, budgets: [{minAvailable: 2}]}, \
                   {name: agent, kind: DaemonSet}, {name: api, replicas: 2}]}";
    let loud: Vec<Finding> = found(cluster, "{}").into_iter().filter(|f| f.severity > Severity::Info).collect();
    assert_eq!(loud, []);
}

/// Codes from P030 on: what they find in a cluster, with the objects.
fn late(cluster: &str, goal: &str, least: Severity) -> Vec<String> {
    let late = found(cluster, goal).into_iter().filter(|found| found.code >= "P030" && found.severity >= least);
    late.map(|finding| format!("{} {}", finding.code, finding.object)).collect()
}

/// The dump of a cluster that ran as it should but for what was put into it, none of which is about versions or hosts.
#[test]
fn a_recorded_cluster_gives_no_false_alarm() {
    let dump = "{from: fixtures/dumps/kind-troubled.yaml}";
    let goal = "{to: v1.37.0}";
    assert_eq!(late(dump, goal, Severity::Warning), [""; 0]);
    let workers = ["", "2", "3", "4"].map(|number| format!("P035 Node/real-worker{number}"));
    let others =
        ["P035 Node/real-control-plane", "P044 Node/real-control-plane", "P046 Cluster/cluster"].map(String::from);
    let mut expected = [&workers[..], &others[..]].concat();
    expected.sort_unstable();
    assert_eq!(late(dump, goal, Severity::Info), expected, "containerd 1.6.20, one control-plane node, no hosts file");
}

/// The complete example of docs/hosts.md gives what the document says it gives.
#[test]
fn the_documented_hosts_file_gives_what_the_document_says() {
    let (_, rest) = include_str!("../../docs/hosts.md").split_once("```yaml\n").unwrap();
    let hosts: serde_json::Value = serde_saphyr::from_str(rest.split_once("```").unwrap().0).unwrap();
    let cluster = format!("{{version: v1.36.2, nodes: {{count: 1, controlPlane: 1}}, hosts: {hosts}}}");
    let goal = "{to: v1.37.0}";
    assert_eq!(late(&cluster, goal, Severity::Warning), ["P037 Node/n1", "P041 Node/n1"]);
    let about_hosts = ["P037 Node/n1", "P041 Node/n1", "P042 Node/n1", "P044 Node/cp1"];
    assert_eq!(late(&cluster, goal, Severity::Info), about_hosts, "P044: the only control-plane node here");
}

#[test]
fn codes_are_in_order_and_explained() {
    let abouts = abouts();
    assert!(abouts.windows(2).all(|pair| pair[0].code < pair[1].code));
    for about in abouts {
        let texts = [about.name, about.what, about.why, about.example, about.fix];
        assert!(texts.iter().all(|text| !text.trim().is_empty()), "{}", about.code);
    }
}
