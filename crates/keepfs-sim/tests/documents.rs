//! What the documents promise to a reader: one title each, links that lead somewhere, bounded length.

use keepfs_sim::Repository;

/// Documents that must exist, with the most lines each may have.
const DOCUMENTS: &[(&str, usize)] = &[
    ("README.md", 200),
    ("ARCHITECTURE.md", 250),
    ("CONTRIBUTING.md", 120),
    ("CHANGELOG.md", 1_000),
    ("FORMAT.md", 1_000),
    ("THREATS.md", 300),
    ("RELIABILITY.md", 150),
    ("docs/glossary.md", 100),
    ("docs/cli.md", 1_000),
    ("docs/telegram.md", 200),
];

fn titles(text: &str) -> usize {
    let mut in_code = false;
    let mut count = 0;
    for line in text.lines() {
        if line.starts_with("```") {
            in_code = !in_code;
        }
        count += usize::from(!in_code && line.starts_with("# "));
    }
    count
}

/// The targets of inline links, outside code.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, after)) = after.split_once(')') else { break };
            found.push(target.to_owned());
            rest = after;
        }
    }
    found
}

#[test]
fn every_document_exists_and_is_bounded() {
    let repository = Repository::open();
    let mut wrong = Vec::new();
    for (path, lines_max) in DOCUMENTS {
        match repository.text(path) {
            None => wrong.push(format!("{path} is missing")),
            Some(text) if text.lines().count() > *lines_max => {
                wrong.push(format!("{path} has {} lines, at most {lines_max}", text.lines().count()));
            }
            Some(_) => {}
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_document_has_one_title() {
    for (path, text) in Repository::open().documents() {
        assert_eq!(titles(&text), 1, "{path}");
    }
}

#[test]
fn relative_links_resolve() {
    let repository = Repository::open();
    let mut wrong = Vec::new();
    for (path, text) in repository.documents() {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for link in links(&text) {
            let is_outside = link.contains("://") || link.starts_with('#') || link.starts_with("mailto:");
            let target = link.split('#').next().unwrap_or("");
            let target = if folder.is_empty() { target.to_owned() } else { format!("{folder}/{target}") };
            if !is_outside && !repository.has(&target) {
                wrong.push(format!("{path}: {link}"));
            }
        }
    }
    assert!(wrong.is_empty(), "links that lead nowhere:\n{}", wrong.join("\n"));
}
