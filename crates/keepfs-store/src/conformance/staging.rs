//! Claims about objects that grow.

use super::bench::{
    Bench, Check, Failure, claims, ensure, ensure_error, ensure_exists, ensure_not_found, ensure_same,
    ensure_short,
};
use super::concurrent::join;
use crate::error::{Result, StoreError};
use crate::name::ObjectName;
use crate::store::PutMode;

claims![
    staged_object_is_invisible_until_published,
    staged_bytes_are_read_back_before_and_after_sync,
    published_object_has_every_byte,
    handle_reads_on_after_publishing,
    published_object_takes_no_more_writes,
    publishing_twice_is_publishing_once,
    publishing_over_another_object_is_refused,
    staged_writes_in_any_order_leave_zeros_in_gaps,
    staged_read_past_the_end_is_an_error,
    truncated_staged_object_has_its_new_length,
    staging_a_name_twice_is_refused,
    staged_object_outlives_its_handle,
    reopening_what_is_not_staged_is_not_found,
    staged_objects_are_listed_until_published_or_discarded,
    discarded_staged_object_is_gone,
    replaceable_names_are_never_staged,
    staged_writers_of_different_ranges_do_not_meet,
];

fn staged_object_is_invisible_until_published(bench: &Bench<'_>) -> Check {
    let (staging, name) = (bench.staging()?, bench.name());
    let staged = staging.create(&name)?;
    ensure(staged.is_empty()?, || "a new one is not empty".into())?;
    staged.write_at(0, b"hidden")?;
    staged.sync()?;
    ensure_not_found(bench.store.get(&name, 64))?;
    ensure_not_found(bench.store.len(&name))?;
    let mut listed = false;
    bench.store.list("", &mut |info| {
        listed |= info.name == name;
        std::ops::ControlFlow::Continue(())
    })?;
    ensure(!listed, || "it is listed".into())?;
    staged.publish()?;
    ensure_same(&bench.store.get(&name, 64)?, b"hidden")?;
    ensure_same(&bench.reopen().get(&name, 64)?, b"hidden")
}

fn staged_bytes_are_read_back_before_and_after_sync(bench: &Bench<'_>) -> Check {
    let (staging, name) = (bench.staging()?, bench.name());
    let (staged, bytes) = (staging.create(&name)?, bench.bytes(200_000));
    for (index, part) in bytes.chunks(3001).enumerate() {
        let offset = (index * 3001) as u64;
        staged.write_at(offset, part)?;
        let mut out = vec![0; part.len()];
        staged.read_at(offset, &mut out)?;
        ensure_same(&out, part)?;
        if index % 8 == 0 {
            staged.sync()?;
        }
        ensure(staged.len()? == offset + part.len() as u64, || "its length is wrong".into())?;
    }
    let mut out = vec![0; bytes.len()];
    staged.read_at(0, &mut out)?;
    ensure_same(&out, &bytes)
}

fn published_object_has_every_byte(bench: &Bench<'_>) -> Check {
    for len in [0, 1, 70_000, bench.options.object_len_max] {
        let (staging, name, bytes) = (bench.staging()?, bench.name(), bench.bytes(len));
        let staged = staging.create(&name)?;
        for (index, part) in bytes.chunks(65_537).enumerate() {
            staged.write_at((index * 65_537) as u64, part)?;
        }
        staged.publish()?;
        ensure(bench.store.len(&name)? == len as u64, || "its length is wrong".into())?;
        ensure_same(&bench.store.get(&name, len as u64)?, &bytes)?;
    }
    Ok(())
}

fn handle_reads_on_after_publishing(bench: &Bench<'_>) -> Check {
    let (staging, name) = (bench.staging()?, bench.name());
    let (staged, bytes) = (staging.create(&name)?, bench.bytes(9000));
    staged.write_at(0, &bytes)?;
    staged.publish()?;
    let mut out = vec![0; 4000];
    staged.read_at(5000, &mut out)?;
    ensure_same(&out, &bytes[5000..])?;
    ensure(staged.len()? == 9000, || "its length is wrong".into())?;
    bench.store.delete(&name)?;
    staged.read_at(0, &mut out)?;
    ensure_same(&out, &bytes[..4000])
}

fn published_object_takes_no_more_writes(bench: &Bench<'_>) -> Check {
    let (staging, name) = (bench.staging()?, bench.name());
    let staged = staging.create(&name)?;
    staged.write_at(0, b"done")?;
    staged.publish()?;
    let is_expected = |error: &StoreError| matches!(error, StoreError::Invalid { .. });
    ensure_error(staged.write_at(0, b"more"), "Invalid", is_expected)?;
    ensure_error(staged.truncate(1), "Invalid", is_expected)?;
    staged.sync()?;
    ensure_same(&bench.store.get(&name, 64)?, b"done")
}

fn publishing_twice_is_publishing_once(bench: &Bench<'_>) -> Check {
    let (staging, name) = (bench.staging()?, bench.name());
    let staged = staging.create(&name)?;
    staged.write_at(0, b"once")?;
    staged.publish()?;
    staged.publish()?;
    ensure_same(&bench.store.get(&name, 64)?, b"once")
}

fn publishing_over_another_object_is_refused(bench: &Bench<'_>) -> Check {
    let (staging, name) = (bench.staging()?, bench.name());
    let staged = staging.create(&name)?;
    staged.write_at(0, b"mine")?;
    bench.store.put(&name, b"another", PutMode::Create)?;
    ensure_exists(staged.publish())?;
    ensure_same(&bench.store.get(&name, 64)?, b"another")?;
    ensure(staging.list()?.contains(&name), || "it is no longer staged".into())?;
    bench.store.delete(&name)?;
    staged.publish()?;
    ensure_same(&bench.store.get(&name, 64)?, b"mine")
}

fn staged_writes_in_any_order_leave_zeros_in_gaps(bench: &Bench<'_>) -> Check {
    let (staging, name) = (bench.staging()?, bench.name());
    let staged = staging.create(&name)?;
    staged.write_at(8, b"late")?;
    staged.write_at(2, b"early")?;
    staged.write_at(3, b"A")?;
    let expected = b"\0\0eArly\0late";
    let mut out = [0xee; 12];
    staged.read_at(0, &mut out)?;
    ensure_same(&out, expected)?;
    staged.publish()?;
    ensure_same(&bench.store.get(&name, 64)?, expected)
}

fn staged_read_past_the_end_is_an_error(bench: &Bench<'_>) -> Check {
    let staged = bench.staging()?.create(&bench.name())?;
    ensure_short(staged.read_at(0, &mut [0]))?;
    staged.write_at(0, b"four")?;
    for (start, len) in [(0, 5), (4, 1), (1 << 30, 1), (u64::MAX, 1)] {
        ensure_short(staged.read_at(start, &mut vec![0; len]))?;
    }
    staged.read_at(4, &mut [])?;
    Ok(())
}

fn truncated_staged_object_has_its_new_length(bench: &Bench<'_>) -> Check {
    let (staging, name) = (bench.staging()?, bench.name());
    let staged = staging.create(&name)?;
    staged.write_at(0, b"0123456789")?;
    staged.truncate(4)?;
    ensure(staged.len()? == 4, || "it is not shorter".into())?;
    ensure_short(staged.read_at(0, &mut [0; 5]))?;
    staged.truncate(6)?;
    staged.write_at(6, b"end")?;
    staged.publish()?;
    ensure_same(&bench.store.get(&name, 64)?, b"0123\0\0end")
}

fn staging_a_name_twice_is_refused(bench: &Bench<'_>) -> Check {
    let (staging, name) = (bench.staging()?, bench.name());
    let staged = staging.create(&name)?;
    staged.write_at(0, b"first")?;
    ensure_exists(staging.create(&name))?;
    drop(staged);
    ensure_exists(staging.create(&name))
}

fn staged_object_outlives_its_handle(bench: &Bench<'_>) -> Check {
    let (staging, name) = (bench.staging()?, bench.name());
    let staged = staging.create(&name)?;
    staged.write_at(0, b"kept")?;
    staged.sync()?;
    drop(staged);
    let store = bench.reopen();
    let staging = store.staging().ok_or(Failure::Skipped("the store has no staging"))?;
    let staged = staging.reopen(&name)?;
    ensure(staged.len()? == 4, || "its length is wrong".into())?;
    staged.write_at(4, b" on")?;
    staged.publish()?;
    ensure_same(&bench.store.get(&name, 64)?, b"kept on")
}

fn reopening_what_is_not_staged_is_not_found(bench: &Bench<'_>) -> Check {
    let (staging, name) = (bench.staging()?, bench.name());
    ensure_not_found(staging.reopen(&name))?;
    bench.store.put(&name, b"published", PutMode::Create)?;
    ensure_not_found(staging.reopen(&name))
}

fn staged_objects_are_listed_until_published_or_discarded(bench: &Bench<'_>) -> Check {
    let staging = bench.staging()?;
    let names: Vec<ObjectName> = (0..3).map(|_| bench.name()).collect();
    let handles = names.iter().map(|name| staging.create(name)).collect::<Result<Vec<_>, _>>()?;
    let listed = |expected: [bool; 3]| -> Check {
        let found = staging.list()?;
        let seen = [0, 1, 2].map(|index| found.contains(&names[index]));
        ensure(seen == expected, || format!("{seen:?} instead of {expected:?}"))
    };
    listed([true, true, true])?;
    handles[0].publish()?;
    listed([false, true, true])?;
    staging.discard(&names[1])?;
    listed([false, false, true])?;
    drop(handles);
    listed([false, false, true])
}

fn discarded_staged_object_is_gone(bench: &Bench<'_>) -> Check {
    let (staging, name) = (bench.staging()?, bench.name());
    let staged = staging.create(&name)?;
    staged.write_at(0, b"gone")?;
    staging.discard(&name)?;
    staging.discard(&name)?;
    let mut out = [0; 4];
    staged.read_at(0, &mut out)?;
    ensure_same(&out, b"gone")?;
    ensure(staged.publish().is_err(), || "what was discarded was published".into())?;
    drop(staged);
    ensure_not_found(staging.reopen(&name))?;
    ensure_not_found(bench.store.len(&name))?;
    let again = staging.create(&name)?;
    ensure(again.is_empty()?, || "a new one has old bytes".into())?;
    drop(again);
    staging.discard(&name)?;
    ensure_not_found(staging.reopen(&name))
}

fn replaceable_names_are_never_staged(bench: &Bench<'_>) -> Check {
    let staging = bench.staging()?;
    for name in [ObjectName::vault(), ObjectName::vault_backup(), bench.head()] {
        let is_expected = |error: &StoreError| matches!(error, StoreError::Invalid { .. });
        ensure_error(staging.create(&name), "Invalid", is_expected)?;
    }
    Ok(())
}

fn staged_writers_of_different_ranges_do_not_meet(bench: &Bench<'_>) -> Check {
    const PART: usize = 50_000;
    let (staging, name, bytes) = (bench.staging()?, bench.name(), bench.bytes(PART * 8));
    let staged = staging.create(&name)?;
    let write = |(index, part): (usize, &[u8])| -> Result<()> {
        for (step, piece) in part.chunks(1000).enumerate() {
            staged.write_at((index * PART + step * 1000) as u64, piece)?;
            if step % 16 == 0 {
                staged.sync()?;
            }
        }
        Ok(())
    };
    let write = &write;
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            bytes.chunks(PART).enumerate().map(|part| scope.spawn(move || write(part))).collect();
        threads.into_iter().try_for_each(join)
    })?;
    staged.publish()?;
    ensure_same(&bench.store.get(&name, bytes.len() as u64)?, &bytes)
}
