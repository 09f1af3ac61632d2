//! Claims about single objects.

use super::bench::{
    Bench, Check, Failure, claims, ensure, ensure_error, ensure_exists, ensure_not_found, ensure_same,
    ensure_short,
};
use crate::error::StoreError;
use crate::store::PutMode;

claims![
    capabilities_are_plausible,
    missing_object_is_not_found,
    put_then_get_gives_the_bytes,
    empty_object_is_an_object,
    large_object_comes_back_whole,
    create_refuses_what_exists_and_leaves_it,
    replace_makes_what_is_missing,
    replace_replaces_longer_and_shorter,
    replaced_object_is_read_anew,
    get_within_the_limit_works_and_beyond_is_too_large,
    every_range_inside_is_exact,
    range_past_the_end_is_an_error,
    reading_up_to_the_end_gives_what_there_is,
    length_is_exact,
    deleted_object_is_gone,
    deleting_twice_is_no_error,
    deleted_name_can_be_created_again,
    heads_and_objects_do_not_meet,
    another_handle_sees_what_was_put,
    put_file_stores_the_file_and_leaves_it,
    put_file_keeps_the_modes,
    put_file_of_a_missing_file_is_an_error,
    space_is_plausible,
];

fn capabilities_are_plausible(bench: &Bench<'_>) -> Check {
    let capabilities = bench.store.capabilities();
    ensure(!capabilities.kind.is_empty(), || "the kind is empty".into())?;
    ensure(capabilities.parallel > 0, || "no request may be in flight".into())?;
    ensure(capabilities.object_len_max >= 64 << 20, || "packs do not fit".into())?;
    ensure(capabilities == bench.reopen().capabilities(), || "two handles differ".into())
}

fn missing_object_is_not_found(bench: &Bench<'_>) -> Check {
    for name in [bench.name(), bench.head()] {
        ensure_not_found(bench.store.get(&name, u64::MAX))?;
        ensure_not_found(bench.store.get_range(&name, 0, &mut [0; 4]))?;
        ensure_not_found(bench.store.len(&name))?;
    }
    Ok(())
}

fn put_then_get_gives_the_bytes(bench: &Bench<'_>) -> Check {
    for len in [1, 15, 16, 17, 1023, 1024, 4095, 4096, 4097, 65_535, 65_536, 65_537] {
        let (name, bytes) = (bench.name(), bench.bytes(len));
        bench.store.put(&name, &bytes, PutMode::Create)?;
        ensure_same(&bench.store.get(&name, len as u64)?, &bytes)?;
    }
    Ok(())
}

fn empty_object_is_an_object(bench: &Bench<'_>) -> Check {
    let name = bench.name();
    bench.store.put(&name, &[], PutMode::Create)?;
    ensure(bench.store.len(&name)? == 0, || "its length is not zero".into())?;
    ensure_same(&bench.store.get(&name, 0)?, &[])?;
    bench.store.get_range(&name, 0, &mut [])?;
    ensure_short(bench.store.get_range(&name, 0, &mut [0]))?;
    ensure_exists(bench.store.put(&name, b"more", PutMode::Create))
}

fn large_object_comes_back_whole(bench: &Bench<'_>) -> Check {
    let (name, bytes) = (bench.name(), bench.bytes(bench.options.object_len_max + 1));
    bench.store.put(&name, &bytes, PutMode::Create)?;
    ensure_same(&bench.store.get(&name, u64::MAX)?, &bytes)
}

fn create_refuses_what_exists_and_leaves_it(bench: &Bench<'_>) -> Check {
    for name in [bench.name(), bench.head()] {
        bench.store.put(&name, b"first", PutMode::Create)?;
        ensure_exists(bench.store.put(&name, b"second", PutMode::Create))?;
        ensure_same(&bench.store.get(&name, 64)?, b"first")?;
    }
    Ok(())
}

fn replace_makes_what_is_missing(bench: &Bench<'_>) -> Check {
    for name in [bench.name(), bench.head()] {
        bench.store.put(&name, b"made", PutMode::Replace)?;
        ensure_same(&bench.store.get(&name, 64)?, b"made")?;
    }
    Ok(())
}

fn replace_replaces_longer_and_shorter(bench: &Bench<'_>) -> Check {
    let name = bench.head();
    for len in [1000, 10, 5000, 0, 3] {
        let bytes = bench.bytes(len);
        bench.store.put(&name, &bytes, PutMode::Replace)?;
        ensure_same(&bench.store.get(&name, 5000)?, &bytes)?;
        ensure(bench.store.len(&name)? == len as u64, || "the length is the old one".into())?;
    }
    Ok(())
}

fn replaced_object_is_read_anew(bench: &Bench<'_>) -> Check {
    let other = bench.reopen();
    for name in [bench.name(), bench.head()] {
        bench.store.put(&name, b"old bytes", PutMode::Create)?;
        let mut out = [0; 3];
        bench.store.get_range(&name, 0, &mut out)?;
        ensure_same(&out, b"old")?;
        other.put(&name, b"new bytes", PutMode::Replace)?;
        bench.store.get_range(&name, 0, &mut out)?;
        ensure_same(&out, b"new")?;
        other.delete(&name)?;
        ensure_not_found(bench.store.get_range(&name, 0, &mut out))?;
    }
    Ok(())
}

fn get_within_the_limit_works_and_beyond_is_too_large(bench: &Bench<'_>) -> Check {
    let (name, bytes) = (bench.name(), bench.bytes(100));
    bench.store.put(&name, &bytes, PutMode::Create)?;
    for limit in [100, 101, u64::MAX] {
        ensure_same(&bench.store.get(&name, limit)?, &bytes)?;
    }
    for limit in [0, 1, 99] {
        let is_expected = |error: &StoreError| matches!(error, StoreError::TooLarge { actual: 100, limit: told, .. } if *told == limit);
        ensure_error(bench.store.get(&name, limit), "TooLarge", is_expected)?;
    }
    Ok(())
}

fn every_range_inside_is_exact(bench: &Bench<'_>) -> Check {
    let (name, bytes) = (bench.name(), bench.bytes(10_000));
    bench.store.put(&name, &bytes, PutMode::Create)?;
    for (start, len) in [(0, 0), (0, 1), (0, 10_000), (1, 9_998), (4096, 4096), (9_999, 1), (10_000, 0)] {
        let mut out = vec![0xee; len];
        bench.store.get_range(&name, start as u64, &mut out)?;
        ensure_same(&out, &bytes[start..start + len])?;
    }
    Ok(())
}

fn range_past_the_end_is_an_error(bench: &Bench<'_>) -> Check {
    let name = bench.name();
    bench.store.put(&name, &bench.bytes(100), PutMode::Create)?;
    for (start, len) in [(0, 101), (99, 2), (100, 1), (5000, 1), (u64::MAX, 1), (u64::MAX - 1, 8)] {
        ensure_short(bench.store.get_range(&name, start, &mut vec![0; len]))?;
    }
    Ok(())
}

fn reading_up_to_the_end_gives_what_there_is(bench: &Bench<'_>) -> Check {
    let (name, bytes) = (bench.name(), bench.bytes(100));
    ensure_not_found(bench.store.read_up_to(&name, 0, &mut [0; 4]))?;
    bench.store.put(&name, &bytes, PutMode::Create)?;
    for (start, len) in [(0, 100), (0, 1), (40, 20), (0, 5000), (99, 2), (90, 10), (100, 1), (5000, 8)] {
        let mut out = vec![0xee; len];
        let found = bench.store.read_up_to(&name, start as u64, &mut out)?;
        let expected = &bytes[start.min(100)..(start + len).min(100)];
        ensure_same(&out[..found], expected)?;
    }
    let empty = bench.name();
    bench.store.put(&empty, &[], PutMode::Create)?;
    let found = bench.store.read_up_to(&empty, 0, &mut [0; 4])?;
    ensure(found == 0, || format!("{found} bytes of an empty object"))
}

fn length_is_exact(bench: &Bench<'_>) -> Check {
    for len in [0, 1, 511, 512, 513, 100_000] {
        let name = bench.name();
        bench.store.put(&name, &bench.bytes(len), PutMode::Create)?;
        let found = bench.store.len(&name)?;
        ensure(found == len as u64, || format!("{found} instead of {len}"))?;
    }
    Ok(())
}

fn deleted_object_is_gone(bench: &Bench<'_>) -> Check {
    for name in [bench.name(), bench.head()] {
        bench.store.put(&name, b"here", PutMode::Create)?;
        bench.store.get_range(&name, 0, &mut [0; 4])?;
        bench.store.delete(&name)?;
        ensure_not_found(bench.store.get(&name, 64))?;
        ensure_not_found(bench.store.get_range(&name, 0, &mut [0; 4]))?;
        ensure_not_found(bench.store.len(&name))?;
    }
    Ok(())
}

fn deleting_twice_is_no_error(bench: &Bench<'_>) -> Check {
    for name in [bench.name(), bench.head()] {
        bench.store.delete(&name)?;
        bench.store.put(&name, b"here", PutMode::Create)?;
        bench.store.delete(&name)?;
        bench.store.delete(&name)?;
    }
    Ok(())
}

fn deleted_name_can_be_created_again(bench: &Bench<'_>) -> Check {
    let name = bench.name();
    bench.store.put(&name, b"first", PutMode::Create)?;
    bench.store.get_range(&name, 0, &mut [0; 5])?;
    bench.store.delete(&name)?;
    bench.store.put(&name, b"again", PutMode::Create)?;
    let mut out = [0; 5];
    bench.store.get_range(&name, 0, &mut out)?;
    ensure_same(&out, b"again")
}

fn heads_and_objects_do_not_meet(bench: &Bench<'_>) -> Check {
    let object = bench.name();
    let head = crate::name::ObjectName::head(object.id().unwrap_or_default())?;
    bench.store.put(&object, b"object", PutMode::Create)?;
    ensure_not_found(bench.store.len(&head))?;
    bench.store.put(&head, b"head", PutMode::Create)?;
    let seen = bench.store.get(&object, 64);
    bench.store.delete(&head)?;
    ensure_same(&seen?, b"object")?;
    ensure_same(&bench.store.get(&object, 64)?, b"object")
}

fn another_handle_sees_what_was_put(bench: &Bench<'_>) -> Check {
    let (name, bytes) = (bench.name(), bench.bytes(3000));
    bench.store.put(&name, &bytes, PutMode::Create)?;
    let other = bench.reopen();
    ensure_same(&other.get(&name, 3000)?, &bytes)?;
    ensure_exists(other.put(&name, b"others", PutMode::Create))?;
    other.delete(&name)?;
    ensure_not_found(bench.store.get(&name, 3000))
}

/// A file of the suite in the scratch directory, removed in the end.
struct ScratchFile(std::path::PathBuf);

impl ScratchFile {
    fn new(bench: &Bench<'_>, bytes: &[u8]) -> Result<Self, Failure> {
        let directory = bench.options.scratch.as_ref();
        let directory = directory.ok_or(Failure::Skipped("no scratch directory was given"))?;
        let path = directory.join(format!("conformance-{}", bench.name().id().unwrap_or_default()));
        std::fs::write(&path, bytes).map_err(|error| Failure::Broken(error.to_string()))?;
        Ok(ScratchFile(path))
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        // A file that stays is a nuisance in a scratch directory, no more.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn put_file_stores_the_file_and_leaves_it(bench: &Bench<'_>) -> Check {
    for len in [0, 1, 4097, bench.options.object_len_max] {
        let (name, bytes) = (bench.name(), bench.bytes(len));
        let file = ScratchFile::new(bench, &bytes)?;
        bench.store.put_file(&name, &file.0, PutMode::Create)?;
        ensure_same(&bench.store.get(&name, len as u64)?, &bytes)?;
        let left = std::fs::read(&file.0).map_err(|error| Failure::Broken(error.to_string()))?;
        ensure_same(&left, &bytes)?;
        // The object is a copy: what happens to the file afterwards is nothing to it.
        std::fs::write(&file.0, b"other").map_err(|error| Failure::Broken(error.to_string()))?;
        ensure_same(&bench.store.get(&name, len as u64)?, &bytes)?;
    }
    Ok(())
}

fn put_file_keeps_the_modes(bench: &Bench<'_>) -> Check {
    let name = bench.head();
    let (first, second) = (ScratchFile::new(bench, b"first")?, ScratchFile::new(bench, b"second")?);
    bench.store.put_file(&name, &first.0, PutMode::Create)?;
    ensure_exists(bench.store.put_file(&name, &second.0, PutMode::Create))?;
    ensure_same(&bench.store.get(&name, 64)?, b"first")?;
    bench.store.put_file(&name, &second.0, PutMode::Replace)?;
    ensure_same(&bench.store.get(&name, 64)?, b"second")
}

fn put_file_of_a_missing_file_is_an_error(bench: &Bench<'_>) -> Check {
    let file = ScratchFile::new(bench, b"")?;
    let (name, missing) = (bench.name(), file.0.with_extension("missing"));
    ensure_short(bench.store.put_file(&name, &missing, PutMode::Create))?;
    ensure_not_found(bench.store.len(&name))
}

fn space_is_plausible(bench: &Bench<'_>) -> Check {
    match bench.store.space()? {
        Some(space) => ensure(space.free <= space.total, || format!("{space:?}")),
        None => Err(Failure::Skipped("the store cannot tell")),
    }
}
