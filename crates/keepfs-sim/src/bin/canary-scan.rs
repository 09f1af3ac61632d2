//! `canary-scan CANARIES FOLDER...`: searches folders for values that must not be in them.
//!
//! CANARIES is a text file of lines `kind<TAB>label<TAB>value`: `text` and its UTF-8 value, `hex` and a
//! value in hex, `file` and the path of a file that holds the value, `length` and a number of bytes.
//! Exits with 0 when nothing was found, 1 when something was, 2 when it could not look.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use data_encoding::HEXLOWER_PERMISSIVE;
use keepfs_sim::{Canaries, ScanReport};

/// More findings than this are counted, not printed.
const SHOWN_MAX: usize = 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((list, folders)) = arguments.split_first() else {
        eprintln!("usage: canary-scan CANARIES FOLDER...");
        return ExitCode::from(2);
    };
    match run(list, folders) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(reason) => {
            eprintln!("canary-scan: {reason}");
            ExitCode::from(2)
        }
    }
}

fn run(list: &str, folders: &[String]) -> Result<bool, String> {
    let mut canaries = Canaries::new();
    let text = fs::read_to_string(list).map_err(|error| format!("{list}: {error}"))?;
    for line in text.lines().filter(|line| !line.is_empty()) {
        add(&mut canaries, line)?;
    }
    let mut report = ScanReport::default();
    for folder in folders {
        // Objects are uniform bytes; the vault's header and local files have structure that is no secret.
        let is_object = |path: &Path| {
            let path = path.to_string_lossy();
            path.contains("/o/") || path.contains("/h/")
        };
        canaries
            .scan(Path::new(folder), &is_object, &mut report)
            .map_err(|error| format!("{folder}: {error}"))?;
    }
    println!(
        "{} needles, {} files, {} bytes, {} findings, {} objects not uniform",
        canaries.needle_count(),
        report.files,
        report.bytes,
        report.findings.len(),
        report.skewed.len()
    );
    for finding in report.findings.iter().take(SHOWN_MAX) {
        let place = finding.offset.map_or("in its name".to_owned(), |offset| format!("at {offset}"));
        println!("LEAK {} {place}: {}", finding.path.display(), finding.what);
    }
    for (path, skew) in report.skewed.iter().take(SHOWN_MAX) {
        println!("SKEW {}: chi-square {skew:.0}", path.display());
    }
    Ok(report.findings.is_empty() && report.skewed.is_empty())
}

fn add(canaries: &mut Canaries, line: &str) -> Result<(), String> {
    let mut fields = line.splitn(3, '\t');
    let (Some(kind), Some(label), Some(value)) = (fields.next(), fields.next(), fields.next()) else {
        return Err(format!("not three fields: {line}"));
    };
    match kind {
        "text" => canaries.add(label, value.as_bytes()),
        "hex" => {
            let bytes = HEXLOWER_PERMISSIVE.decode(value.as_bytes()).map_err(|error| error.to_string())?;
            canaries.add(label, &bytes);
        }
        "file" => canaries.add(label, &fs::read(value).map_err(|error| format!("{value}: {error}"))?),
        "length" => canaries.add_length(label, value.parse().map_err(|_| format!("no number: {value}"))?),
        _ => return Err(format!("unknown kind {kind}")),
    }
    Ok(())
}
