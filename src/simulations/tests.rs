use super::*;

fn all() -> Vec<Case> {
    find(&[Path::new(env!("CARGO_MANIFEST_DIR")).join("simulations")]).unwrap()
}

#[test]
fn every_scenario_is_as_expected() {
    let only = std::env::var("SCENARIO").ok();
    let mut failed = Vec::new();
    let cases = all();
    assert!(cases.len() >= 40);
    for case in cases.iter().filter(|case| only.as_ref().is_none_or(|part| case.name.contains(part.as_str()))) {
        match case.test() {
            Ok(tested) if tested.mismatches.is_empty() => {}
            Ok(tested) => failed.push(format!("{}:\n  {}", case.name, tested.mismatches.join("\n  "))),
            Err(error) => failed.push(format!("{}: {error:#}", case.name)),
        }
    }
    assert!(failed.is_empty(), "{} of {} scenarios failed\n{}", failed.len(), cases.len(), failed.join("\n"));
}
