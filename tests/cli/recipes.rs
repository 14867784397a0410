//! `cmsim recipe`.

use super::{error, out, run, write};

#[test]
fn recipes_are_listed_shown_and_linted() {
    let list = out(&run("recipe list"), 0);
    assert!(list.contains("kubeadm-apt  ") && list.contains("kubeadm-dnf  "), "{list}");
    let json: serde_json::Value = serde_json::from_str(&out(&run("recipe list -o json"), 0)).unwrap();
    assert_eq!(json["recipes"][0]["name"], "kubeadm-apt");
    let folder = tempfile::tempdir().unwrap();
    for name in ["kubeadm-apt", "kubeadm-dnf"] {
        let text = out(&run(&format!("recipe show {name}")), 0);
        let own = write(folder.path(), "own.yaml", &text);
        let said = out(&run(&format!("recipe lint {}", own.display())), 0);
        assert!(said.contains("no defects"), "{said}");
        assert_eq!(out(&run(&format!("recipe show {}", own.display())), 0), text);
        let json: serde_json::Value =
            serde_json::from_str(&out(&run(&format!("recipe show {name} -o json")), 0)).unwrap();
        assert_eq!(json["recipe"]["name"], name);
    }
}

#[test]
fn defects_are_named_with_file_step_and_field() {
    let folder = tempfile::tempdir().unwrap();
    let lint = |text: &str, more: &str| {
        let own = write(folder.path(), "own.yaml", text);
        run(&format!("recipe lint {}{more}", own.display()))
    };
    let said = out(&lint("name: x\nsteps: [{name: a, run: 'if {{ node }}; then'}]", ""), 1);
    assert!(said.contains("own.yaml: step a: run: ") && said.contains("yntax error"), "{said}");
    let said = out(&lint("name: x\nsteps: [{name: a, run: 'echo \"{{ node }}\"'}]", " -o json"), 1);
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&json["defects"][0]["step"], &json["defects"][0]["field"]), (&"a".into(), &"run".into()), "{said}");
    let said = out(&lint("name: x\nsteps:\n- {name: a, run: 'true', tiemout: 1s}", ""), 1);
    assert!(said.contains("tiemout") && said.contains("line 3"), "{said}");
    assert!(error(&run("recipe show kubeadm-atp")).contains("did you mean \"kubeadm-apt\"?"));
    assert!(error(&run("recipe lint /nowhere.yaml")).contains("/nowhere.yaml"));
}
