//! The deliberate mutants of `acceptance/mutants.json` still fit the sources, so that a round of them proves something.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use keepfs_sim::Repository;
use serde_json::Value;

/// Fewest mutants that a round must have.
const MUTANTS_MIN: usize = 20;

#[test]
fn every_mutant_applies_exactly_once_and_changes_something() {
    let repository = Repository::open();
    let list: Vec<Value> =
        serde_json::from_str(&repository.text("acceptance/mutants.json").unwrap()).unwrap();
    assert!(list.len() >= MUTANTS_MIN, "{} mutants", list.len());
    let mut names = BTreeSet::new();
    for mutant in &list {
        let of = |key: &str| mutant[key].as_str().unwrap();
        assert!(names.insert(of("name")), "two mutants are called '{}'", of("name"));
        let found = repository.text(of("file")).unwrap().matches(of("search")).count();
        assert_eq!(found, 1, "'{}' applies {found} times to {}", of("name"), of("file"));
        assert_ne!(of("search"), of("replace"));
        assert!(!mutant["test"].as_array().unwrap().is_empty(), "nothing should notice '{}'", of("name"));
    }
}
