//! Admission webhooks.

use super::wire::{CheckedSelector, Meta, object};
use crate::cluster::{Name, ObjectKey, Webhook};

object! {
    /// MutatingWebhookConfiguration, ValidatingWebhookConfiguration.
    struct RawWebhooks {
        metadata: Meta,
        webhooks: Vec<RawWebhook>,
    }

    /// A webhook.
    struct RawWebhook {
        name: Name,
        failure_policy: Name,
        client_config: ClientConfig,
        rules: Vec<Rule>,
        namespace_selector: Option<CheckedSelector>,
        object_selector: Option<CheckedSelector>,
        timeout_seconds: Option<i32>,
    }

    /// `clientConfig`.
    struct ClientConfig {
        service: Option<ServiceReference>,
    }

    /// A Service by name.
    struct ServiceReference {
        namespace: Name,
        name: Name,
    }

    /// A rule.
    struct Rule {
        operations: Vec<Name>,
        api_groups: Vec<Name>,
        resources: Vec<Name>,
    }
}

impl RawWebhooks {
    pub(super) fn read(&self, kind: &str) -> Vec<Webhook> {
        let configuration = ObjectKey::cluster_wide(kind, self.metadata.name);
        let read = |raw: &RawWebhook| Webhook {
            configuration,
            name: raw.name,
            fails_closed: raw.failure_policy != "Ignore",
            service: raw.client_config.service.as_ref().map(|service| (service.namespace, service.name)),
            rules: raw.rules.iter().map(|rule| (rule.operations.clone(), rule.resources())).collect(),
            namespace_selector: raw.namespace_selector.clone().map(|selector| selector.0),
            object_selector: raw.object_selector.clone().map(|selector| selector.0),
            timeout_seconds: raw.timeout_seconds.unwrap_or(10),
        };
        self.webhooks.iter().map(read).collect()
    }
}

impl Rule {
    /// Every `group/resource`; the core group is empty.
    fn resources(&self) -> Vec<Name> {
        let of_group = |group: &Name| {
            let group = *group;
            self.resources.iter().map(move |resource| Name::new(&format!("{group}/{resource}")))
        };
        self.api_groups.iter().flat_map(of_group).collect()
    }
}

/// What a webhook sees of the pods of a run; `None`: nothing.
pub(super) fn intercepts(webhook: &Webhook) -> Option<String> {
    let seen: Vec<&str> = [
        ("CREATE", "pods", "the creation of pods"),
        ("CREATE", "pods/eviction", "evictions"),
        ("CREATE", "pods/binding", "the binding of pods"),
        ("DELETE", "pods", "the deletion of pods"),
        ("UPDATE", "nodes", "cordons and uncordons"),
    ]
    .into_iter()
    .filter(|(operation, resource, _)| webhook.sees(operation, resource))
    .map(|(_, _, what)| what)
    .collect();
    (!seen.is_empty()).then(|| format!("webhook {} intercepts {}", webhook.name, seen.join(", ")))
}
