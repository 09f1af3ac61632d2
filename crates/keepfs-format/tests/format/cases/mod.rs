//! How the vectors are made: valid bytes by our writers, invalid ones by hand. Names of valid ones start
//! with `good_`.

mod directories;
mod log;
mod numbers;
mod operations;
mod sealed;

use crate::vectors::Vector;

pub(crate) fn all() -> Vec<Vector> {
    let mut all = numbers::all();
    all.extend(operations::all());
    all.extend(directories::all());
    all.extend(sealed::all());
    all.extend(log::all());
    all
}
