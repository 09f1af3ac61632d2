//! The manner of the house, as tests: length, words, reasons, reachability.
//!
//! What breaks a rule today stands in `debt.txt` as `rule path count`. A count may shrink, and must be
//! lowered when it does; it may never grow.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use keepfs_sim::{Repository, RustFile};

const FILE_LINES_MAX: usize = 400;
const TEST_FILE_LINES_MAX: usize = 700;
const FUNCTION_LINES_MAX: usize = 70;
/// A list of cases may be longer than a function that decides something.
const TEST_FUNCTION_LINES_MAX: usize = 100;
const PARAMETERS_MAX: usize = 5;
/// An `expect` says why it cannot fail; fewer words than this say nothing.
const PROOF_WORDS_MIN: usize = 3;

/// Calls that do not belong in what ships, with what to use instead.
const BANNED_CALLS: &[(&str, &str)] = &[
    (".unwrap()", "return the error, or `expect` with the proof"),
    ("panic!(", "return an error"),
    ("todo!(", "write it"),
    ("unimplemented!(", "write it"),
    ("dbg!(", "remove it"),
    ("unreachable!(", "make the state impossible, or return an error"),
    ("process::exit(", "return an exit code from main"),
];

/// Output belongs to the binary.
const BANNED_OUTPUT: &[&str] = &["println!(", "print!(", "eprintln!(", "eprint!("];

/// Marks of unfinished work, in any letter case, wherever they stand.
const BANNED_WORDS: &[&str] =
    &["fixme", "xxx:", "xxx ", "for now", "placeholder", "to do:", "todo:", "hack:", "temporary solution"];

/// Every breach of `rule`, by path.
type Breaches = BTreeMap<(String, String), Vec<String>>;

fn breach(breaches: &mut Breaches, rule: &str, file: &str, detail: String) {
    breaches.entry((rule.to_owned(), file.to_owned())).or_default().push(detail);
}

fn is_tidy_itself(file: &RustFile) -> bool {
    file.path == "crates/keepfs-sim/tests/tidy.rs"
}

fn check_lengths(file: &RustFile, breaches: &mut Breaches) {
    let lines = file.source.production_text().lines().count();
    let limit = if file.is_test { TEST_FILE_LINES_MAX } else { FILE_LINES_MAX };
    if lines > limit {
        breach(breaches, "file-length", &file.path, format!("{lines} lines, at most {limit}"));
    }
    for function in file.source.functions() {
        let is_test = file.is_test || function.line > lines;
        let limit = if is_test { TEST_FUNCTION_LINES_MAX } else { FUNCTION_LINES_MAX };
        if function.lines > limit {
            let detail = format!("line {}: {} has {} lines", function.line, function.name, function.lines);
            breach(breaches, "function-length", &file.path, detail);
        }
        if function.parameters > PARAMETERS_MAX && !is_test && !is_translation(file) {
            let detail = format!("line {}: {} takes {}", function.line, function.name, function.parameters);
            breach(breaches, "parameters", &file.path, detail);
        }
    }
}

/// The FUSE library's trait decides how many parameters its methods take.
fn is_translation(file: &RustFile) -> bool {
    file.source.code().contains("impl Filesystem for")
        || file.source.code().contains("impl fuser::Filesystem for")
}

fn check_head(file: &RustFile, breaches: &mut Breaches) {
    if !file.source.text().starts_with("//! ") {
        breach(breaches, "head", &file.path, "does not open with `//!`".into());
    }
}

fn check_calls(file: &RustFile, breaches: &mut Breaches) {
    if file.is_test {
        return;
    }
    let prints = file.crate_name == "keepfs" || file.path.contains("/src/bin/");
    for (index, line) in file.source.production_code().lines().enumerate() {
        for (call, instead) in BANNED_CALLS.iter().filter(|(call, _)| has_call(line, call)) {
            breach(breaches, "banned-call", &file.path, format!("line {}: {call} ({instead})", index + 1));
        }
        for call in BANNED_OUTPUT.iter().filter(|call| !prints && has_call(line, call)) {
            breach(breaches, "output", &file.path, format!("line {}: {call}", index + 1));
        }
    }
    check_proofs(file, breaches);
}

fn has_call(line: &str, call: &str) -> bool {
    line.match_indices(call).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        call.starts_with('.') || !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

fn check_proofs(file: &RustFile, breaches: &mut Breaches) {
    let code = file.source.production_code();
    for (at, _) in code.match_indices(".expect(") {
        let after = file.source.text()[at + ".expect(".len()..].trim_start();
        let name: String = after.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
        // A proof that several places share has a name in the same file.
        let constant = format!("const {name}: &str = ");
        let proof = match file.source.text().split_once(&constant) {
            Some((_, value)) if !name.is_empty() => value,
            _ => after,
        };
        let message = proof.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"'));
        if message.is_none_or(|(message, _)| message.split_whitespace().count() < PROOF_WORDS_MIN) {
            let line = code[..at].lines().count();
            breach(breaches, "proof", &file.path, format!("line {line}: expect without a proof"));
        }
    }
}

fn check_words(path: &str, text: &str, breaches: &mut Breaches) {
    for (index, line) in text.lines().enumerate() {
        let line = line.to_lowercase();
        for word in BANNED_WORDS.iter().filter(|word| line.contains(**word)) {
            breach(breaches, "banned-word", path, format!("line {}: {word}", index + 1));
        }
    }
}

fn check_reachable(files: &[RustFile], breaches: &mut Breaches) {
    let mut reached: BTreeSet<String> = BTreeSet::new();
    let mut pending: Vec<&RustFile> = files.iter().filter(|file| file.is_crate_root()).collect();
    while let Some(file) = pending.pop() {
        if !reached.insert(file.path.clone()) {
            continue;
        }
        let paths = file.module_paths();
        pending.extend(files.iter().filter(|file| paths.contains(&file.path)));
    }
    for file in files.iter().filter(|file| !reached.contains(&file.path)) {
        breach(breaches, "dead-file", &file.path, "no `mod` leads here".into());
    }
}

fn check_manifest(path: &str, text: &str, breaches: &mut Breaches) {
    let mut in_dependencies = false;
    let mut before = "";
    for line in text.lines() {
        let is_entry = in_dependencies && !line.is_empty() && !line.starts_with(['#', '[', ' ', '}', ']']);
        if line.starts_with('[') {
            in_dependencies = line.contains("dependencies");
            if let Some((_, name)) = line.trim_end_matches(']').split_once("dependencies.") {
                in_dependencies = false;
                if !before.starts_with("# ") {
                    breach(breaches, "reason", path, format!("{name} has no reason above it"));
                }
            }
        } else if is_entry && !line.starts_with("keepfs") && !before.starts_with("# ") {
            let name = line.split(['.', ' ', '=']).next().unwrap_or(line);
            breach(breaches, "reason", path, format!("{name} has no reason above it"));
        }
        before = line;
    }
}

fn all_breaches() -> Breaches {
    let repository = Repository::open();
    let files = repository.rust_files();
    assert!(!files.is_empty());
    let mut breaches = Breaches::new();
    for file in &files {
        check_head(file, &mut breaches);
        check_lengths(file, &mut breaches);
        check_calls(file, &mut breaches);
        if !is_tidy_itself(file) {
            check_words(&file.path, file.source.text(), &mut breaches);
        }
    }
    check_reachable(&files, &mut breaches);
    for name in repository.crate_names() {
        let path = format!("crates/{name}/Cargo.toml");
        check_manifest(&path, &repository.text(&path).unwrap(), &mut breaches);
    }
    for (path, text) in repository.documents() {
        check_words(&path, &text, &mut breaches);
    }
    breaches
}

fn debts() -> BTreeMap<(String, String), usize> {
    let text = include_str!("debt.txt");
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(fields.len(), 3, "debt.txt: {line}");
            ((fields[0].to_owned(), fields[1].to_owned()), fields[2].parse().unwrap())
        })
        .collect()
}

#[test]
fn the_house_is_tidy() {
    let breaches = all_breaches();
    let debts = debts();
    let mut complaints = Vec::new();
    for ((rule, path), details) in &breaches {
        let allowed = debts.get(&(rule.clone(), path.clone())).copied().unwrap_or(0);
        if details.len() > allowed {
            complaints.push(format!("{rule} {path} {} (allowed {allowed})", details.len()));
            complaints.extend(details.iter().map(|detail| format!("    {detail}")));
        }
    }
    for ((rule, path), allowed) in &debts {
        let actual = breaches.get(&(rule.clone(), path.clone())).map_or(0, Vec::len);
        if actual < *allowed {
            complaints.push(format!("debt.txt: {rule} {path} is {actual} now; lower it from {allowed}"));
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_rule_can_fail() {
    let mut breaches = Breaches::new();
    check_words("a", "this is a FIXME", &mut breaches);
    check_manifest("b", "[dependencies]\nserde = \"1\"\n", &mut breaches);
    check_manifest("c", "[dependencies]\n# It reads.\nserde = \"1\"\n", &mut breaches);
    assert!(breaches.contains_key(&("banned-word".into(), "a".into())));
    assert!(breaches.contains_key(&("reason".into(), "b".into())));
    assert!(!breaches.contains_key(&("reason".into(), "c".into())));
    assert!(has_call("    x.unwrap();", ".unwrap()"));
    assert!(!has_call("    eprintln!(1);", "println!("));
}

/// What RELIABILITY.md says about the code.
#[test]
fn figures_of_what_ships_are_told() {
    let (mut functions, mut long, mut assertions) = (0, 0, 0);
    for file in Repository::open().rust_files() {
        if file.is_test || file.crate_name == "keepfs-sim" {
            continue;
        }
        let lines = file.source.production_text().lines().count();
        for function in file.source.functions().iter().filter(|function| function.line <= lines) {
            functions += 1;
            long += usize::from(function.lines > FUNCTION_LINES_MAX);
        }
        for line in file.source.production_code().lines() {
            let calls = ["assert!(", "assert_eq!(", "assert_ne!(", ".expect("];
            assertions += calls.iter().filter(|call| has_call(line, call)).count();
        }
    }
    println!("{assertions} assertions, {long} of {functions} functions over {FUNCTION_LINES_MAX} lines");
    assert!(functions > 1000 && assertions > 10);
}
