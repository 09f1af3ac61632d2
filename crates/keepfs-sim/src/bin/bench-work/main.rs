//! `bench-work ROW FOLDER [name=value]...`: one row of the benchmark in one folder.
//!
//! Prints one line of JSON: the row, its rate, the unit, the seconds. A row checks what it read, outside the time (reads
//! of the large file leave that to `check-big` with `check=0`); a check (`check-...`) reads what earlier rows wrote. Exits with 1 when bytes are wrong or a call failed, with 2 for
//! a wrong command line. It mounts nothing, drops no caches and knows no file system.

mod arguments;
mod check;
mod failure;
mod noise;
mod rows;
mod scale;

use std::process::ExitCode;
use std::time::Duration;

use arguments::Arguments;
use failure::{Failure, Outcome};
use rows::Done;

/// What times itself.
type Row = fn(&Arguments) -> Outcome<Done>;

/// What only looks.
type Check = fn(&Arguments) -> Outcome<()>;

const ROWS: &[(&str, Row)] = &[
    ("write", rows::write),
    ("write-text", rows::write_text),
    ("read", rows::read),
    ("read-warm", rows::read_warm),
    ("random-read", rows::random_read),
    ("overwrite", rows::overwrite),
    ("append", rows::append),
    ("create", rows::create),
    ("unlink", rows::unlink),
    ("grow", scale::grow),
    ("shrink", scale::shrink),
    ("stat", scale::stat),
    ("open", scale::open),
    ("touch", scale::touch),
    ("rename", scale::rename),
    ("scatter", scale::scatter),
    ("gather", scale::gather),
];

const CHECKS: &[(&str, Check)] = &[
    ("check-big", check::big),
    ("check-text", check::text),
    ("check-overwritten", check::overwritten),
    ("check-log", check::log),
    ("check-small", check::small),
    ("check-tree", check::tree),
];

fn run(arguments: &Arguments) -> Outcome<Done> {
    if let Some((_, row)) = ROWS.iter().find(|(name, _)| *name == arguments.row) {
        return row(arguments);
    }
    let Some((_, check)) = CHECKS.iter().find(|(name, _)| *name == arguments.row) else {
        return Err(Failure::Usage(format!("there is no row {}", arguments.row)));
    };
    check(arguments)?;
    Ok(Done { count: 0.0, unit: "", time: Duration::ZERO })
}

fn usage() {
    let names = ROWS.iter().map(|(name, _)| *name).chain(CHECKS.iter().map(|(name, _)| *name));
    eprintln!(
        "usage: bench-work ROW FOLDER [bytes=N] [calls=N] [files=N] [from=PATH] [check=0] [modes=0] [times=0]"
    );
    eprintln!("  large trees: [into=NAME] [per=N] [first=N] [seed=N] [near=1]");
    eprintln!("rows: {}", names.collect::<Vec<_>>().join(" "));
}

fn main() -> ExitCode {
    let outcome = Arguments::parse(std::env::args().skip(1)).and_then(|arguments| {
        let done = run(&arguments)?;
        Ok((arguments.row, done))
    });
    match outcome {
        Ok((row, done)) => {
            let seconds = done.time.as_secs_f64();
            let rate = if seconds > 0.0 { done.count / seconds } else { 0.0 };
            println!(r#"{{"row":"{row}","rate":{rate:.3},"unit":"{}","seconds":{seconds:.6}}}"#, done.unit);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("bench-work: {failure}");
            if matches!(failure, Failure::Usage(_)) {
                usage();
                return ExitCode::from(2);
            }
            ExitCode::from(1)
        }
    }
}
