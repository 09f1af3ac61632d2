//! The files of this repository, as the tidy tests see them.
//!
//! Owns finding and reading them. Never judges what they hold.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::source::{Module, Source};

/// Deeper nesting of folders than this is a mistake, or a loop of links.
const DEPTH_MAX: usize = 16;

/// One Rust file of a crate.
pub struct RustFile {
    /// Path below the repository's root, with `/` between its parts.
    pub path: String,
    /// Name of the crate it belongs to.
    pub crate_name: String,
    /// Its text, read for structure.
    pub source: Source,
    /// It is compiled for tests only.
    pub is_test: bool,
}

/// The repository that this crate was built in.
pub struct Repository {
    root: PathBuf,
}

impl Repository {
    /// Finds the root from where this crate lies.
    pub fn open() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        Repository { root }
    }

    /// Where it lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The names of the folders under `crates/`, sorted.
    pub fn crate_names(&self) -> Vec<String> {
        let mut names: Vec<String> = entries(&self.root.join("crates"))
            .into_iter()
            .filter(|path| path.join("Cargo.toml").is_file())
            .map(|path| file_name(&path))
            .collect();
        names.sort();
        names
    }

    /// The text of the file at `path` below the root; `None` where there is none.
    pub fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }

    /// Whether there is a file or a folder at `path` below the root.
    pub fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// Every Markdown document, by its path below the root.
    pub fn documents(&self) -> BTreeMap<String, String> {
        let mut paths = Vec::new();
        for path in entries(&self.root) {
            if path.is_file() {
                paths.push(path);
            }
        }
        for folder in ["docs", "acceptance", "crates"] {
            walk(&self.root.join(folder), 0, &mut paths);
        }
        paths
            .into_iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
            .filter_map(|path| fs::read_to_string(&path).ok().map(|text| (self.relative(&path), text)))
            .collect()
    }

    /// Every Rust file of every crate, sorted by path.
    pub fn rust_files(&self) -> Vec<RustFile> {
        let mut files = Vec::new();
        for crate_name in self.crate_names() {
            let mut paths = Vec::new();
            walk(&self.root.join("crates").join(&crate_name), 0, &mut paths);
            for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e == "rs")) {
                let relative = self.relative(path);
                let Ok(text) = fs::read_to_string(path) else { continue };
                let inside = relative.trim_start_matches("crates/").trim_start_matches(crate_name.as_str());
                let is_test =
                    ["/tests/", "/benches/", "/examples/"].iter().any(|folder| inside.starts_with(folder));
                let source = Source::new(text);
                files.push(RustFile { path: relative, crate_name: crate_name.clone(), source, is_test });
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        mark_test_modules(&mut files);
        files
    }

    fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().into_owned()
    }
}

/// A file that its parent declares under `#[cfg(test)]` is a test, and so is all that it declares.
fn mark_test_modules(files: &mut [RustFile]) {
    let mut pending: Vec<String> = Vec::new();
    for file in files.iter() {
        for module in &file.source.modules() {
            if module.is_test || file.is_test {
                pending.extend(module_paths(&file.path, module));
            }
        }
    }
    while let Some(path) = pending.pop() {
        let Some(file) = files.iter_mut().find(|file| file.path == path) else { continue };
        if file.is_test {
            continue;
        }
        file.is_test = true;
        for module in &file.source.modules() {
            pending.extend(module_paths(&path, module));
        }
    }
}

/// The places where `module`, declared in the file at `path`, may lie.
fn module_paths(path: &str, module: &Module) -> Vec<String> {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    if let Some(beside) = &module.path {
        return vec![format!("{folder}/{beside}")];
    }
    let stem = file.trim_end_matches(".rs");
    // Roots of a crate and `mod.rs` hold their children beside themselves; others in a folder of their name.
    let is_root = matches!(stem, "lib" | "main" | "mod")
        || ["/tests", "/examples", "/bin"].iter().any(|roots| folder.ends_with(roots));
    let folder = if is_root { folder.to_owned() } else { format!("{folder}/{stem}") };
    let name = &module.name;
    vec![format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")]
}

impl RustFile {
    /// The paths where the modules that this file declares may lie.
    pub fn module_paths(&self) -> Vec<String> {
        self.source.modules().iter().flat_map(|module| module_paths(&self.path, module)).collect()
    }

    /// Cargo finds this file by itself: it is the root of a library, a binary, a test or a bench.
    pub fn is_crate_root(&self) -> bool {
        let inside = self.path.trim_start_matches("crates/");
        let parts: Vec<&str> = inside.split('/').collect();
        matches!(
            parts.as_slice(),
            [_, "build.rs"]
                | [_, "src", "lib.rs" | "main.rs"]
                | [_, "src", "bin", _]
                | [_, "tests" | "benches" | "examples", _]
                | [_, "tests" | "benches" | "examples" | "src", .., "main.rs"]
        )
    }
}

fn walk(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    if depth > DEPTH_MAX {
        return;
    }
    for path in entries(folder) {
        if path.is_dir() {
            if file_name(&path) != "target" {
                walk(&path, depth + 1, found);
            }
        } else {
            found.push(path);
        }
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(listing) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = listing.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
