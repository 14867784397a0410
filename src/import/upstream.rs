//! The importer against what Kubernetes' own libraries make of the same texts (`ci/values`).

use serde::Deserialize;
use serde_json::Value;

use super::wire::LabelSelector;
use crate::cluster::{IntOrPercent, Labels, Name, Version, quantity};

fn values(of: &str) -> Vec<Value> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/upstream-values.json");
    let text = std::fs::read_to_string(path).expect("the fixture");
    let all: Value = serde_json::from_str(&text).expect("JSON");
    all[of].as_array().expect("a list").clone()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

#[test]
fn quantities() {
    let all = values("quantities");
    // Kubernetes reads a text without digits as 0, which is refused here; its numbers wrap where ours stop at the bounds of i64;
    // and it rounds small negative amounts to positive ones. The API server lets none of them pass in an object.
    let comparable = |one: &&Value| {
        let written = text(&one["text"]);
        let digits = written.is_empty() || written.bytes().any(|byte| byte.is_ascii_digit());
        let bounded = quantity::whole(written).is_ok_and(|whole| whole < i64::MAX / 1000);
        digits && !written.starts_with('-') && (bounded || one["valid"] == false)
    };
    let differing = all.iter().filter(comparable).filter_map(|one| {
        let written = text(&one["text"]);
        let found = quantity::milli(written).ok().zip(quantity::whole(written).ok());
        let expected = one["milli"].as_i64().zip(one["whole"].as_i64()).filter(|_| one["valid"] == true);
        (found != expected).then_some((written, found, expected))
    });
    assert_eq!(differing.collect::<Vec<_>>(), []);
    assert!(all.iter().filter(comparable).filter(|one| one["valid"] == true).count() > 200);
}

#[test]
fn percentages() {
    for one in values("percentages") {
        let written = text(&one["value"]);
        let value = match written.parse() {
            Ok(count) => IntOrPercent::Int(count),
            Err(_) => IntOrPercent::parse_percent(written).expect("a percentage"),
        };
        let total = one["total"].as_i64().expect("a total") as i32;
        let found = (i64::from(value.round_up(total)), i64::from(value.round_down(total)));
        assert_eq!(Some(found), one["up"].as_i64().zip(one["down"].as_i64()), "{written} of {total}");
    }
}

#[test]
fn selectors() {
    let mut valid = 0;
    for one in values("selectors") {
        let selector = <LabelSelector as Deserialize>::deserialize(&one["selector"]).map_err(|error| error.to_string());
        let selector = selector.and_then(|selector| selector.selector());
        assert_eq!(selector.is_ok(), one["valid"] == true, "{} {selector:?}", one["selector"]);
        let Ok(selector) = selector else { continue };
        valid += 1;
        let sets = one["labels"].as_array().expect("label sets").iter();
        for (set, expected) in sets.zip(one["matches"].as_array().expect("answers")) {
            let pairs = set.as_object().expect("labels").iter();
            let labels = Labels::from_iter(pairs.map(|(key, value)| (Name::new(key), Name::new(text(value)))));
            assert_eq!(Value::Bool(selector.matches(&labels)), *expected, "{} on {set}", one["selector"]);
        }
    }
    assert!(valid > 200);
}

#[test]
fn versions() {
    for one in values("versions") {
        let written = text(&one["text"]);
        let version: Version = written.parse().expect("a version");
        let found = (Value::from(version.minor), Value::from(version.patch));
        assert_eq!(found, (one["minor"].clone(), one["patch"].clone()), "{written}");
    }
}
