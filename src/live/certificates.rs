//! Serving certificates of kubelets (`serverTLSBootstrap`): Kubernetes approves requests for client certificates by itself, those for
//! serving certificates never (<https://kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/>, "Client and
//! serving certificates"); until somebody does, `kubectl logs` and metrics of the node may fail.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{Decode, DecodePem, Encode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::request::{CertReq, ExtensionReq};

use super::act::trouble;
use super::client::Connection;
use super::store::reason;
use crate::engine::Trouble;

/// Signer of kubelets' serving certificates.
pub(super) const SIGNER: &str = "kubernetes.io/kubelet-serving";

/// A request that nobody has decided on.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Name of the CertificateSigningRequest.
    pub name: String,
    /// The node whose account asks.
    pub node: String,
    request: CertificateSigningRequest,
}

/// Requests of nodes for serving certificates that wait for approval.
///
/// # Errors
///
/// No answer, or a refusal: reading them is no right of [docs/rbac.yaml] unless they are to be approved.
pub async fn pending(connection: &Connection) -> Result<Vec<Pending>, Trouble> {
    let api: Api<CertificateSigningRequest> = Api::all(connection.client.clone());
    let list = api.list(&ListParams::default().fields(&format!("spec.signerName={SIGNER}"))).await;
    let list = list.map_err(|error| trouble(&error, "listing certificatesigningrequests"))?;
    let waits = |request: &CertificateSigningRequest| {
        let status = request.status.as_ref();
        status.is_none_or(|status| {
            status.certificate.is_none() && status.conditions.as_ref().is_none_or(|all| all.is_empty())
        })
    };
    let of_node = |request: CertificateSigningRequest| {
        let node = request.spec.username.as_deref()?.strip_prefix("system:node:")?.to_owned();
        Some(Pending { name: request.metadata.name.clone()?, node, request })
    };
    Ok(list.items.into_iter().filter(waits).filter_map(of_node).collect())
}

impl Pending {
    /// Why it must not be approved for the node whose addresses these are (`status.addresses`); `None`: it may be.
    pub(super) fn flaw(&self, addresses: &[String]) -> Option<String> {
        let spec = &self.request.spec;
        if !spec.groups.iter().flatten().any(|group| group == "system:nodes") {
            return Some("its requestor is not in the group system:nodes".to_owned());
        }
        let usages: Vec<&str> = spec.usages.iter().flatten().map(String::as_str).collect();
        let known = |usage: &&str| matches!(*usage, "digital signature" | "key encipherment" | "server auth");
        if !usages.contains(&"server auth") || !usages.iter().all(known) {
            return Some(format!("its usages are {}", usages.join(", ")));
        }
        match CertReq::from_pem(&spec.request.0) {
            Ok(request) => flaw(&request, &self.node, addresses),
            Err(error) => Some(format!("it cannot be read: {error}")),
        }
    }

    /// Approves it.
    ///
    /// # Errors
    ///
    /// [`Trouble::Stale`] if somebody else has written it meanwhile.
    pub(super) async fn approve(&self, connection: &Connection) -> Result<(), Trouble> {
        let api: Api<CertificateSigningRequest> = Api::all(connection.client.clone());
        let approved = CertificateSigningRequestCondition {
            type_: "Approved".to_owned(),
            status: "True".to_owned(),
            reason: Some("CmsimApprove".to_owned()),
            message: Some(format!(
                "cmsim upgraded node {}; subject and names of the request are the node's own",
                self.node
            )),
            ..CertificateSigningRequestCondition::default()
        };
        let version = &self.request.metadata.resource_version;
        let patch = json!({"metadata": {"resourceVersion": version}, "status": {"conditions": [approved]}});
        match api.patch_approval(&self.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let what = format!("approving certificatesigningrequest {}", self.name);
                Err(match &error {
                    kube::Error::Api(_) => trouble(&error, &what),
                    other => Trouble::Unreachable(format!("{what}: {}", reason(other))),
                })
            }
        }
    }
}

/// What a request asks for besides the node's own names.
fn flaw(request: &CertReq, node: &str, addresses: &[String]) -> Option<String> {
    let subject = request.info.subject.to_string();
    let (name, nodes) = (format!("CN=system:node:{node}"), "O=system:nodes");
    if subject != format!("{name},{nodes}") && subject != format!("{nodes},{name}") {
        return Some(format!("its subject is {subject}"));
    }
    let mut names = Vec::new();
    for attribute in request.info.attributes.iter() {
        if attribute.oid != ExtensionReq::OID {
            return Some(format!("it has the attribute {}", attribute.oid));
        }
        for value in attribute.values.iter() {
            let Some(ExtensionReq(extensions)) = value.to_der().ok().and_then(|der| ExtensionReq::from_der(&der).ok())
            else {
                return Some("its extensions cannot be read".to_owned());
            };
            for extension in extensions {
                if extension.extn_id != SubjectAltName::OID {
                    return Some(format!("it asks for the extension {}", extension.extn_id));
                }
                match SubjectAltName::from_der(extension.extn_value.as_bytes()) {
                    Ok(SubjectAltName(more)) => names.extend(more),
                    Err(error) => return Some(format!("its names cannot be read: {error}")),
                }
            }
        }
    }
    if names.is_empty() {
        return Some("it names no host".to_owned());
    }
    names.iter().find_map(|name| {
        let (text, own) = match name {
            GeneralName::DnsName(name) => {
                let name = name.as_str();
                (name.to_owned(), name == node || addresses.iter().any(|address| address == name))
            }
            GeneralName::IpAddress(bytes) => match ip(bytes.as_bytes()) {
                Some(ip) => (ip.to_string(), addresses.iter().any(|address| address.parse() == Ok(ip))),
                None => ("an address that is none".to_owned(), false),
            },
            other => (format!("{other:?}"), false),
        };
        (!own).then(|| format!("it names {text}, which is no name or address of node {node}"))
    })
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(|bytes| IpAddr::from(Ipv4Addr::from(bytes)));
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(|bytes| IpAddr::from(Ipv6Addr::from(bytes)))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(pem: &str, change: impl FnOnce(&mut CertificateSigningRequest)) -> Pending {
        let mut request = CertificateSigningRequest::default();
        request.spec.request.0 = pem.as_bytes().to_vec();
        request.spec.username = Some("system:node:n1".to_owned());
        request.spec.groups = Some(vec!["system:nodes".to_owned(), "system:authenticated".to_owned()]);
        request.spec.usages = Some(vec!["digital signature".to_owned(), "server auth".to_owned()]);
        change(&mut request);
        Pending { name: "csr-1".to_owned(), node: "n1".to_owned(), request }
    }

    #[test]
    fn only_what_names_the_node_and_nothing_else_may_be_approved() {
        let addresses = ["172.18.0.3".to_owned(), "n1.example.com".to_owned()];
        let good = include_str!("../../fixtures/certificates/good.pem");
        assert_eq!(request(good, |_| ()).flaw(&addresses), None);
        assert_eq!(request(include_str!("../../fixtures/certificates/named.pem"), |_| ()).flaw(&[]), None);
        let bad = [
            (include_str!("../../fixtures/certificates/other.pem"), "system:node:n2"),
            (include_str!("../../fixtures/certificates/foreign.pem"), "10.96.0.1"),
            (include_str!("../../fixtures/certificates/dns.pem"), "kubernetes.default"),
            (include_str!("../../fixtures/certificates/uri.pem"), "spiffe"),
            (include_str!("../../fixtures/certificates/bare.pem"), "names no host"),
            (include_str!("../../fixtures/certificates/org.pem"), "system:masters"),
            (include_str!("../../fixtures/certificates/orgs.pem"), "system:masters"),
            (include_str!("../../fixtures/certificates/ca.pem"), "extension 2.5.29.19"),
            ("no request at all", "cannot be read"),
        ];
        for (pem, why) in bad {
            let flaw = request(pem, |_| ()).flaw(&addresses).unwrap_or_default();
            assert!(flaw.contains(why), "{flaw:?} instead of {why:?}");
        }
        let elsewhere = request(good, |_| ()).flaw(&["172.18.0.9".to_owned()]);
        assert!(elsewhere.unwrap().contains("172.18.0.3"));
        let client =
            request(good, |one| one.spec.usages = Some(vec!["client auth".to_owned(), "server auth".to_owned()]));
        assert!(client.flaw(&addresses).unwrap().contains("client auth"));
        let nobody = request(good, |one| one.spec.groups = None);
        assert!(nobody.flaw(&addresses).unwrap().contains("system:nodes"));
    }
}
