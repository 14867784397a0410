//! Requests as they stand in a recording, and what the API server makes of them before a handler sees them.

use serde::Deserialize;
use serde_json::Value;

use crate::simulator::eviction::{Answer, Options, Precondition};

/// `evict`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Evict {
    #[serde(rename = "op")]
    _op: String,
    pub(super) pod: String,
    #[serde(default)]
    delete_options: Value,
    #[serde(default)]
    query: Value,
    api_version: Option<String>,
    body_name: Option<String>,
    body_namespace: Option<String>,
}

/// What comes of a request before, or after, the eviction handler.
pub(super) struct Request {
    /// Refused before admission.
    pub(super) malformed: Option<Answer>,
    /// Refused by the handler before it looks at the pod.
    pub(super) refused: Option<Answer>,
    /// Options for the handler.
    pub(super) options: Options,
    /// Refused where the pod would be deleted.
    pub(super) invalid_deletion: Option<Answer>,
}

pub(super) fn failure(code: u16, reason: &'static str, message: String) -> Answer {
    Answer { code, reason, message, ..Answer::default() }
}

fn invalid(what: &str, value: &str) -> Answer {
    let cause = format!("Unsupported value: [\"{value}\"]: supported values: \"All\"");
    let message = format!("{what}.meta.k8s.io \"\" is invalid: dryRun: {cause}");
    Answer { causes: vec![("FieldValueNotSupported".to_owned(), cause)], ..failure(422, "Invalid", message) }
}

impl Evict {
    /// The request for a pod of this name in this namespace (A.2 steps 1 to 4).
    pub(super) fn read(&self, name: &str, namespace: &str) -> Result<Request, String> {
        if let Some(version) = self.api_version.as_deref().filter(|it| !matches!(*it, "policy/v1" | "policy/v1beta1")) {
            return Err(format!("an Eviction of version {version}"));
        }
        let mut request =
            Request { malformed: None, refused: None, options: Options::default(), invalid_deletion: None };
        let asked = self.query.get("dryRun").and_then(Value::as_str);
        let in_body = self.delete_options.pointer("/dryRun/0").and_then(Value::as_str);
        if let Some(value) = asked.filter(|value| *value != "All") {
            request.malformed = Some(invalid("CreateOptions", value));
        } else if self.body_namespace.as_deref().is_some_and(|other| other != namespace) {
            let message = "the namespace of the provided object does not match the namespace sent on the request";
            request.malformed = Some(failure(400, "BadRequest", message.to_owned()));
        }
        if self.body_name.as_deref().is_some_and(|other| other != name) {
            let message = "name in URL does not match name in Eviction object";
            request.refused = Some(failure(400, "BadRequest", message.to_owned()));
        } else if let (Some(asked), Some(in_body)) = (asked, in_body)
            && asked != in_body
        {
            let message = format!("Non-matching dry-run options in request and content: [{asked}] and [{in_body}]");
            request.refused = Some(failure(500, "", message));
        }
        request.invalid_deletion = in_body.filter(|value| *value != "All").map(|value| invalid("DeleteOptions", value));
        let grace = self.delete_options.get("gracePeriodSeconds").and_then(Value::as_i64);
        let precondition = |field: &str, own: &str| match self.delete_options.pointer(field).and_then(Value::as_str) {
            None => Precondition::Absent,
            Some(value) if value == own => Precondition::Holds,
            Some(_) => Precondition::Fails,
        };
        request.options = Options {
            // A negative period becomes one second (A.8).
            grace_seconds: grace.map(|seconds| u32::try_from(seconds).unwrap_or(1)),
            dry_run: asked.is_some() || in_body.is_some(),
            uid: precondition("/preconditions/uid", "$UID"),
            resource_version: precondition("/preconditions/resourceVersion", "$RV"),
        };
        Ok(request)
    }
}

/// What creating a budget answers (`pkg/apis/policy/validation`); other kinds are taken.
pub(super) fn create(object: &Value) -> Answer {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if text("/apiVersion") == "policy/v1beta1" {
        // Not served since 1.25 (VERSIONS.md).
        return failure(404, "NotFound", "the server could not find the requested resource".to_owned());
    }
    if text("/kind") != "PodDisruptionBudget" {
        return Answer { code: 201, ..Answer::default() };
    }
    let mut causes = Vec::new();
    for field in ["minAvailable", "maxUnavailable"] {
        let Some(value) = object.pointer(&format!("/spec/{field}")).filter(|value| !value.is_null()) else { continue };
        if let Some(why) = problem_of_amount(value) {
            causes.push((format!("spec.{field}"), format!("Invalid value: {value}: {why}")));
        }
    }
    if causes.is_empty() {
        return Answer { code: 201, ..Answer::default() };
    }
    let listed: Vec<String> = causes.iter().map(|(field, why)| format!("{field}: {why}")).collect();
    let listed = if listed.len() == 1 { listed.concat() } else { format!("[{}]", listed.join(", ")) };
    let message = format!("PodDisruptionBudget.policy \"{}\" is invalid: {listed}", text("/metadata/name"));
    let causes = causes.into_iter().map(|(_, why)| ("FieldValueInvalid".to_owned(), why)).collect();
    Answer { causes, ..failure(422, "Invalid", message) }
}

fn problem_of_amount(value: &Value) -> Option<&'static str> {
    match value {
        Value::Number(number) => {
            number.as_i64().filter(|number| *number < 0).map(|_| "must be greater than or equal to 0")
        }
        Value::String(text) => match text.strip_suffix('%').filter(|digits| !digits.is_empty()) {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse::<u32>().map_or(true, |number| number > 100).then_some("must not be greater than 100%")
            }
            Some(_) | None => Some(
                "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', \
                 regex used for validation is '[0-9]+%')",
            ),
        },
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
