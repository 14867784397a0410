//! Recipes: what is done on a host to upgrade it, as data (docs/recipes.md). A recipe and the values of one node make one
//! [`Job`]; every inserted value is quoted so that it stays one word, whatever stands in it.

mod job;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cluster::{Millis, Version};

pub use job::{Job, JobStep, is_name};
use template::Templates;

/// A node's part in the cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// The control-plane node that takes the control plane to the version.
    FirstControlPlane,
    /// A further one.
    ControlPlane,
    /// Any other node.
    Worker,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 3] = [Role::FirstControlPlane, Role::ControlPlane, Role::Worker];

    /// The word for it in recipes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::FirstControlPlane => "firstControlPlane",
            Role::ControlPlane => "controlPlane",
            Role::Worker => "worker",
        }
    }
}

/// How a host is upgraded.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recipe {
    /// Its name.
    pub name: String,
    /// What it is for, in a sentence.
    #[serde(default)]
    pub description: String,
    /// Values that the operator may give, with what they are otherwise.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// Shell functions that stand in front of every script.
    #[serde(default)]
    pub shared: String,
    /// Steps in their order.
    pub steps: Vec<Step>,
}

/// One step. Scripts are templates of `/bin/sh -eu`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// Name, unique in the recipe.
    pub name: String,
    /// Nodes that it is for; all when left out.
    #[serde(default)]
    pub roles: BTreeSet<Role>,
    /// Ends with 0 if nothing is left to do.
    #[serde(default)]
    pub check: String,
    /// The work.
    pub run: String,
    /// Ends with 0 once the work has had its effect.
    #[serde(default)]
    pub verify: String,
    /// How long `run` may take, and `verify` wait.
    #[serde(default = "ten_minutes")]
    pub timeout: Millis,
    /// It must not be begun again after it was interrupted.
    #[serde(default)]
    pub once: bool,
    /// The way back.
    #[serde(default)]
    pub undo: Option<Undo>,
}

/// The way back of a step.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Undo {
    /// Ends with 0 if nothing is left to do.
    #[serde(default)]
    pub check: String,
    /// The work.
    pub run: String,
    /// Ends with 0 once the work has had its effect.
    #[serde(default)]
    pub verify: String,
    /// How long `run` may take, and `verify` wait.
    #[serde(default = "ten_minutes")]
    pub timeout: Millis,
}

fn ten_minutes() -> Millis {
    Millis::secs(600)
}

/// The values of one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Values {
    /// Name of the node.
    pub node: String,
    /// Its address.
    pub address: String,
    /// Its part in the cluster.
    pub role: Role,
    /// The version that it is to get.
    pub version: Version,
    /// The version that it runs.
    pub from: Option<Version>,
    /// What the operator gives for the recipe's own variables.
    pub given: BTreeMap<String, String>,
}

/// What is wrong with a recipe.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Defect {
    /// Step, or empty.
    pub step: String,
    /// Field, or empty.
    pub field: String,
    /// What is wrong, in a sentence.
    pub message: String,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.step.is_empty() {
            write!(f, "step {}: ", self.step)?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Defect {}

fn defect(step: &str, field: &str, message: impl Into<String>) -> Defect {
    Defect { step: step.to_owned(), field: field.to_owned(), message: message.into() }
}

/// Recipes that come with the program: name and text.
const BUILT_IN: [(&str, &str); 3] = [
    ("kubeadm-apt", include_str!("kubeadm-apt.yaml")),
    ("kubeadm-dnf", include_str!("kubeadm-dnf.yaml")),
    ("backup-kubeadm", include_str!("backup-kubeadm.yaml")),
];

/// Names and texts of the recipes that come with the program.
pub fn built_in() -> impl Iterator<Item = (&'static str, &'static str)> {
    BUILT_IN.into_iter()
}

/// Names of the values that every recipe has.
const GIVEN: [&str; 8] =
    ["node", "address", "role", "version", "versionNumber", "fromVersion", "fromVersionNumber", "minor"];

impl Recipe {
    /// Reads a recipe and looks it over; all defects at once.
    pub fn parse(text: &str) -> Result<Recipe, Vec<Defect>> {
        let recipe: Recipe =
            serde_saphyr::from_str(text).map_err(|error| vec![defect("", "", crate::import::plain(&error))])?;
        let defects = recipe.lint();
        if defects.is_empty() { Ok(recipe) } else { Err(defects) }
    }

    /// A recipe that comes with the program.
    pub fn built_in(name: &str) -> Option<Result<Recipe, Vec<Defect>>> {
        built_in().find(|(known, _)| *known == name).map(|(_, text)| Recipe::parse(text))
    }

    /// Everything that is wrong with it: names, timeouts, and every template of every role, rendered with values as they come.
    fn lint(&self) -> Vec<Defect> {
        let mut defects = Vec::new();
        if !is_name(&self.name) {
            defects.push(defect("", "name", "must be a word of A-Z a-z 0-9 . _ -"));
        }
        for name in self.variables.keys() {
            let word = name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !word {
                defects.push(defect("", "variables", format!("{name:?} must be a word of A-Z a-z 0-9 _")));
            } else if GIVEN.contains(&name.as_str()) {
                defects.push(defect("", "variables", format!("{name:?} has a meaning already")));
            }
        }
        if self.steps.is_empty() {
            defects.push(defect("", "steps", "there is none"));
        }
        let mut seen = BTreeSet::new();
        for step in &self.steps {
            if !is_name(&step.name) {
                defects.push(defect(&step.name, "name", "must be a word of A-Z a-z 0-9 . _ -"));
            }
            if !seen.insert(&step.name) {
                defects.push(defect(&step.name, "name", "stands twice"));
            }
            if step.run.trim().is_empty() {
                defects.push(defect(&step.name, "run", "is empty"));
            }
            let undo = step.undo.as_ref().map(|undo| ("undo.timeout", undo.timeout));
            for (field, timeout) in undo.into_iter().chain([("timeout", step.timeout)]) {
                if timeout < Millis::secs(1) {
                    defects.push(defect(&step.name, field, "must be at least 1s"));
                }
            }
        }
        let sample = |role| Values {
            node: "n1".to_owned(),
            address: "10.0.0.1".to_owned(),
            role,
            version: Version::new(37, 2),
            from: Some(Version::new(36, 3)),
            given: BTreeMap::new(),
        };
        for role in Role::ALL {
            let values = sample(role);
            defects.extend(self.job("lint", &values).err().into_iter().flatten());
            defects.extend(self.undo_job("lint", &values).err().into_iter().flatten());
        }
        defects.sort();
        defects.dedup();
        defects
    }

    /// The work on one node.
    pub fn job(&self, id: &str, values: &Values) -> Result<Job, Vec<Defect>> {
        let steps = self.of_role(values.role).map(|step| {
            let Step { name, check, run, verify, timeout, once, .. } = step;
            (name, [("check", check), ("run", run), ("verify", verify)], *timeout, *once)
        });
        self.render(id, values, steps)
    }

    /// The way back on one node: the steps that have one, from the last to the first.
    pub fn undo_job(&self, id: &str, values: &Values) -> Result<Job, Vec<Defect>> {
        let steps = self.of_role(values.role).filter_map(|step| {
            let Undo { check, run, verify, timeout } = step.undo.as_ref()?;
            Some((&step.name, [("undo.check", check), ("undo.run", run), ("undo.verify", verify)], *timeout, false))
        });
        let mut steps: Vec<_> = steps.collect();
        steps.reverse();
        self.render(id, values, steps.into_iter())
    }

    fn of_role(&self, role: Role) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(move |step| step.roles.is_empty() || step.roles.contains(&role))
    }

    fn render<'a>(
        &'a self,
        id: &str,
        values: &Values,
        steps: impl Iterator<Item = (&'a String, [(&'static str, &'a String); 3], Millis, bool)>,
    ) -> Result<Job, Vec<Defect>> {
        let templates = Templates::new(self.context(values).map_err(|defect| vec![defect])?);
        let shared = templates.render(&self.shared).map_err(|message| vec![defect("", "shared", message)])?;
        let mut defects = Vec::new();
        let mut done = Vec::new();
        for (name, scripts, timeout, once) in steps {
            let [check, run, verify] = scripts.map(|(field, text)| {
                let rendered = templates.render(text).unwrap_or_else(|message| {
                    defects.push(defect(name, field, message));
                    String::new()
                });
                if rendered.trim().is_empty() { String::new() } else { format!("{shared}\n{rendered}") }
            });
            done.push(JobStep { name: name.clone(), check, run, verify, timeout, once });
        }
        if defects.is_empty() { Ok(Job { id: id.to_owned(), steps: done }) } else { Err(defects) }
    }

    /// Whether all of the operator's values are for variables of this recipe.
    pub fn knows(&self, given: &BTreeMap<String, String>) -> Result<(), Defect> {
        let Some(name) = given.keys().find(|name| !self.variables.contains_key(*name)) else { return Ok(()) };
        let known: Vec<&str> = self.variables.keys().map(String::as_str).collect();
        Err(defect("", "variables", format!("{name:?} is none of this recipe's ({})", known.join(", "))))
    }

    /// Values by name.
    fn context(&self, values: &Values) -> Result<BTreeMap<String, String>, Defect> {
        self.knows(&values.given)?;
        let mut context = self.variables.clone();
        context.extend(values.given.clone());
        let number = |version: Version| version.to_string().trim_start_matches('v').to_owned();
        let own = [
            ("node", Some(values.node.clone())),
            ("address", Some(values.address.clone())),
            ("role", Some(values.role.as_str().to_owned())),
            ("version", Some(values.version.to_string())),
            ("versionNumber", Some(number(values.version))),
            ("minor", Some(format!("{}.{}", values.version.major, values.version.minor))),
            ("fromVersion", values.from.map(|from| from.to_string())),
            ("fromVersionNumber", values.from.map(number)),
        ];
        context.extend(own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        Ok(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(role: Role) -> Values {
        Values {
            node: "n1".to_owned(),
            address: "10.0.0.1".to_owned(),
            role,
            version: Version::new(37, 2),
            from: None,
            given: BTreeMap::new(),
        }
    }

    #[test]
    fn what_comes_with_the_program_is_sound() {
        for (name, text) in built_in() {
            let recipe = Recipe::parse(text).unwrap_or_else(|defects| panic!("{name}: {defects:?}"));
            assert_eq!(recipe.name, name);
            for role in Role::ALL.into_iter().filter(|_| name.starts_with("kubeadm")) {
                let job = recipe.job("x", &values(role)).unwrap();
                let names: Vec<&str> = job.steps.iter().map(|step| step.name.as_str()).collect();
                let of_role: &[&str] = match role {
                    Role::FirstControlPlane => &["plan", "control-plane"],
                    Role::ControlPlane | Role::Worker => &["node"],
                };
                let wanted = [&["kubeadm"], of_role, &["kubelet", "restart"]].concat();
                assert_eq!(names, wanted, "{name} {role:?}");
            }
        }
    }

    #[test]
    fn every_defect_is_named_with_step_and_field() {
        let one = |step: &str| format!("name: x\nvariables: {{flags: ''}}\nsteps: [{step}]");
        for (text, wanted) in [
            (one("{name: a, run: 'echo {{ nothing }}'}"), "step a: run: undefined value"),
            (one("{name: a, run: 'true', check: 'echo \"{{ node }}\"'}"), "step a: check: {{ ... }} in double quotes"),
            (one("{name: a, run: 'true', undo: {run: 'echo {{ node'}}"), "step a: undo.run: syntax error"),
            (one("{name: a/b, run: 'true'}"), "step a/b: name: must be a word"),
            (one("{name: a, run: 'true'}, {name: a, run: 'true'}"), "step a: name: stands twice"),
            (one("{name: a, run: ' '}"), "step a: run: is empty"),
            (one("{name: a, run: 'true', timeout: 0s}"), "step a: timeout: must be at least 1s"),
            (one("{name: a, run: 'true', tiemout: 1s}"), "tiemout"),
            (one("{name: a, run: 'true', roles: [master]}"), "master"),
            ("name: x\nsteps: []".to_owned(), "steps: there is none"),
            ("name: x\nvariables: {node: ''}\nsteps: [{name: a, run: 'true'}]".to_owned(), "has a meaning already"),
            (
                "name: x\nshared: \"# {{ node }}\"\nsteps: [{name: a, run: 'true'}]".to_owned(),
                "shared: {{ ... }} in a comment",
            ),
        ] {
            let defects = Recipe::parse(&text).unwrap_err();
            let said: Vec<String> = defects.iter().map(Defect::to_string).collect();
            assert!(said.iter().any(|line| line.contains(wanted)), "{text}: {said:?}");
        }
    }

    #[test]
    fn variables_are_the_recipes_own() {
        let text = "name: x\nvariables: {flags: -v}\nsteps: [{name: a, run: 'run {{ flags | words }} {{ version }}'}]";
        let recipe = Recipe::parse(text).unwrap();
        let mut values = values(Role::Worker);
        let run = |values: &Values| recipe.job("j", values).unwrap().steps[0].run.trim().to_owned();
        assert_eq!(run(&values), "run '-v' 'v1.37.2'");
        values.given.insert("flags".to_owned(), "--a='x y' $(b)".to_owned());
        assert_eq!(run(&values), "run '--a=x y' '$(b)' 'v1.37.2'");
        values.given.insert("flag".to_owned(), String::new());
        assert!(
            recipe.job("j", &values).unwrap_err()[0].to_string().contains("\"flag\" is none of this recipe's (flags)")
        );
    }

    #[test]
    fn the_way_back_goes_backwards() {
        let text = "name: x\nsteps:\n- {name: a, run: 'true', undo: {run: back a}}\n- {name: b, run: 'true'}\n\
                    - {name: c, run: 'true', undo: {run: back c}}";
        let job = Recipe::parse(text).unwrap().undo_job("j", &values(Role::Worker)).unwrap();
        let steps: Vec<(&str, &str)> = job.steps.iter().map(|step| (step.name.as_str(), step.run.trim())).collect();
        assert_eq!(steps, [("c", "back c"), ("a", "back a")]);
    }
}
