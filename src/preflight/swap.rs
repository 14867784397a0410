//! P041: swap that keeps the kubelet from starting.

use crate::judge::About;

use super::settings::flag;
use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P041",
    name: "swap is on",
    what: "Nodes of the run with swap where the kubelet is not told to start all the same (failSwapOn: false).",
    why: "The kubelet looks for swap when it starts only. Swap that was switched on later is noticed by the upgrade, which starts it \
          anew.",
    example: "n2 has a swap file since last month; its kubelet has been running for a year.",
    fix: "Switch swap off (swapoff -a, and in /etc/fstab), or set failSwapOn: false and memorySwap on purpose.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    let findings = scope.taken_hosts().filter_map(|(node, facts)| {
        // A flag without a value says true.
        let stated = |value: &str| if value.is_empty() { Some(true) } else { value.parse().ok() };
        let of_flags = flag(&facts.kubelet.flags, "fail-swap-on").filter_map(stated).last();
        let fails = of_flags.or(facts.kubelet.fail_swap_on);
        let (severity, message) = match fails {
            _ if facts.swap_on != Some(true) => return None,
            Some(false) => return None,
            Some(true) => (Severity::Error, "swap is on and failSwapOn is true: the kubelet does not start again"),
            None => (Severity::Warning, "swap is on: unless failSwapOn is false, the kubelet does not start again"),
        };
        let fix = "swapoff -a and take it out of /etc/fstab, or set failSwapOn: false on purpose".to_owned();
        Some(ABOUT.finding(severity, scope.cluster.node_key(node), message.to_owned(), fix))
    });
    findings.collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{host, named, tells_apart};

    #[test]
    fn swap() {
        let goal = "{to: v1.37.0}";
        let (bad, good) =
            (host("swapOn: true, kubelet: {failSwapOn: true}"), host("swapOn: true, kubelet: {failSwapOn: false}"));
        tells_apart("P041", &["Error Node/n1"], (&bad, goal), (&good, goal));
        tells_apart("P041", &["Warning Node/n1"], (&host("swapOn: true"), goal), (&host("swapOn: false"), goal));
        assert_eq!(named("P041", &host("swapOn: true, kubelet: {flags: ['--fail-swap-on=false']}"), goal), [""; 0]);
        let both = host("swapOn: true, kubelet: {failSwapOn: false, flags: ['--fail-swap-on']}");
        assert_eq!(named("P041", &both, goal), ["Error Node/n1"], "flags go before the file");
    }
}
