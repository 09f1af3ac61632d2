//! Which object is in which message: built from what the server shows, kept current by its changes.
//!
//! The index says what it has seen and no more: a name that it lacks is absent only if every volume was seen to
//! its end. A name may stand in several messages (a replaced object whose old message was not deleted yet): the
//! newest counts, and all are known, so that a deletion removes all of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use keepfs_store::ObjectName;

use crate::label::Label;
use crate::sighting::{Document, Meaning, Sighting};
use crate::volume::VolumeKey;

/// A message. The order is the order of sending.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Spot {
    pub(crate) volume: VolumeKey,
    pub(crate) id: i32,
}

/// An object in a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) label: Label,
    /// Unix seconds by the server's clock.
    pub(crate) date_secs: i64,
    /// Where its bytes are, once the message was seen by this process.
    pub(crate) document: Option<Document>,
}

/// How far a volume was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Mark {
    /// The server's count of changes up to which the index is current, once the volume was seen to its end.
    pub(crate) pts: i32,
    /// The same for changes that are counted apart, and the server's clock; of the saved messages only.
    pub(crate) qts: i32,
    pub(crate) date: i32,
    /// Largest number of a message seen.
    pub(crate) top: i32,
    /// Number of the message that holds the newest anchor known here.
    pub(crate) anchor: i32,
    /// The look at all messages goes on below this number; zero: it has not begun.
    pub(crate) scanned_to: i32,
    /// Every message that was there when the look began has been seen.
    pub(crate) complete: bool,
}

/// The index of one store.
#[derive(Default, Debug)]
pub(crate) struct Index {
    names: BTreeMap<ObjectName, BTreeMap<Spot, Entry>>,
    spots: HashMap<Spot, ObjectName>,
    marks: BTreeMap<VolumeKey, Mark>,
    /// Channels that a message of the store leads to.
    told: BTreeSet<i64>,
    /// Changes since it was kept.
    pub(crate) changes: usize,
}

impl Index {
    /// The message that counts for a name.
    pub(crate) fn newest(&self, name: &ObjectName) -> Option<(Spot, &Entry)> {
        let (spot, entry) = self.names.get(name)?.last_key_value()?;
        Some((*spot, entry))
    }

    /// All messages of a name, oldest first.
    pub(crate) fn spots(&self, name: &ObjectName) -> Vec<Spot> {
        self.names.get(name).map(|spots| spots.keys().copied().collect()).unwrap_or_default()
    }

    /// What counts under every name with this start.
    pub(crate) fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Entry> + 'a {
        // The names are ordered as text, so those with one start stand together.
        self.names
            .iter()
            .skip_while(move |(name, _)| name.as_str() < prefix)
            .take_while(move |(name, _)| name.as_str().starts_with(prefix))
            .filter_map(|(_, spots)| spots.last_key_value().map(|(_, entry)| entry))
    }

    /// Everything, for keeping.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Spot, &Entry)> {
        self.names.values().flatten().map(|(spot, entry)| (*spot, entry))
    }

    /// How far the volumes were seen.
    pub(crate) fn marks(&self) -> &BTreeMap<VolumeKey, Mark> {
        &self.marks
    }

    /// How far this volume was seen.
    pub(crate) fn mark(&self, volume: VolumeKey) -> Mark {
        self.marks.get(&volume).copied().unwrap_or_default()
    }

    /// Notes how far a volume was seen.
    pub(crate) fn set_mark(&mut self, volume: VolumeKey, mark: Mark) {
        self.changes += 1;
        self.marks.insert(volume, mark);
    }

    /// Takes in one message. Seeing a message twice is seeing it once.
    pub(crate) fn see(&mut self, spot: Spot, meaning: &Meaning) {
        let mark = self.marks.entry(spot.volume).or_default();
        mark.top = mark.top.max(spot.id);
        if let Meaning::Continues(channel) = meaning {
            self.tell(*channel);
        }
        match meaning {
            Meaning::Object(sighting) => self.insert(spot, sighting),
            // A message that is no object (any more) may have been one.
            Meaning::Nothing | Meaning::Other | Meaning::Continues(_) => self.remove(spot),
        }
    }

    fn insert(&mut self, spot: Spot, sighting: &Sighting) {
        let entry = Entry {
            label: sighting.label.clone(),
            date_secs: sighting.date_secs,
            document: Some(sighting.document.clone()),
        };
        self.insert_entry(spot, entry);
    }

    /// Puts an entry where nothing else is known to be.
    pub(crate) fn insert_entry(&mut self, spot: Spot, entry: Entry) {
        let name = entry.label.name.clone();
        if self.spots.get(&spot).is_some_and(|known| *known != name) {
            self.remove(spot);
        }
        self.changes += 1;
        self.spots.insert(spot, name.clone());
        self.names.entry(name).or_default().insert(spot, entry);
    }

    /// Channels that a message of the store leads to.
    pub(crate) fn told(&self) -> &BTreeSet<i64> {
        &self.told
    }

    /// Notes that a message leads to a channel.
    pub(crate) fn tell(&mut self, channel: i64) {
        if self.told.insert(channel) {
            self.changes += 1;
        }
    }

    /// Forgets a message.
    pub(crate) fn remove(&mut self, spot: Spot) {
        let Some(name) = self.spots.remove(&spot) else { return };
        self.changes += 1;
        if let Some(spots) = self.names.get_mut(&name) {
            spots.remove(&spot);
            if spots.is_empty() {
                self.names.remove(&name);
            }
        }
    }

    /// Forgets all messages of a volume, so that it can be seen anew.
    pub(crate) fn forget(&mut self, volume: VolumeKey) {
        let spots: Vec<Spot> = self.spots.keys().filter(|spot| spot.volume == volume).copied().collect();
        for spot in spots {
            self.remove(spot);
        }
        self.marks.remove(&volume);
        self.changes += 1;
    }

    /// Forgets every volume that is not among these.
    pub(crate) fn keep_only(&mut self, volumes: &[VolumeKey]) {
        let known: Vec<VolumeKey> = self.marks.keys().copied().collect();
        for volume in known.into_iter().filter(|volume| !volumes.contains(volume)) {
            self.forget(volume);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::session::Centre;

    pub(crate) fn spot(number: u32, id: i32) -> Spot {
        Spot { volume: VolumeKey { number, channel: i64::from(number) * 100 }, id }
    }

    pub(crate) fn object(name: &ObjectName, len: u64) -> Meaning {
        Meaning::Object(Box::new(Sighting {
            id: 1,
            label: Label { name: name.clone(), len, crc: 0 },
            date_secs: 5,
            document: Document { centre: Centre(2), id: 1, access_hash: 2, reference: vec![3] },
        }))
    }

    pub(crate) fn name(letter: char) -> ObjectName {
        ObjectName::immutable(&letter.to_string().repeat(26)).unwrap()
    }

    #[test]
    fn newest_message_counts_and_the_older_comes_back_when_it_goes() {
        let (mut index, name) = (Index::default(), ObjectName::vault());
        for (spot, len) in [(spot(1, 9), 9), (spot(1, 4), 4), (spot(2, 1), 1)] {
            index.see(spot, &object(&name, len));
        }
        assert_eq!(index.newest(&name).unwrap().1.label.len, 1, "a later volume comes after an earlier one");
        index.remove(spot(2, 1));
        assert_eq!(index.newest(&name).unwrap().1.label.len, 9);
        assert_eq!(index.spots(&name), [spot(1, 4), spot(1, 9)]);
        assert_eq!(index.mark(spot(1, 0).volume).top, 9);
    }

    #[test]
    fn edited_and_deleted_messages_are_no_objects_any_more() {
        let (mut index, name) = (Index::default(), name('a'));
        index.see(spot(1, 1), &object(&name, 1));
        index.see(spot(1, 1), &object(&ObjectName::vault(), 2));
        assert!(index.newest(&name).is_none());
        index.see(spot(1, 1), &Meaning::Other);
        assert!(index.newest(&ObjectName::vault()).is_none());
        assert_eq!(index.entries().count(), 0);
    }

    #[test]
    fn listing_follows_the_prefix() {
        let mut index = Index::default();
        for (id, letter) in ['a', 'b', 'c'].into_iter().enumerate() {
            index.see(spot(1, id as i32), &object(&name(letter), 1));
        }
        index.see(spot(1, 9), &object(&ObjectName::vault(), 1));
        let count = |prefix| index.under(prefix).count();
        assert_eq!([count(""), count("o/"), count("o/bb"), count("vault"), count("h/")], [4, 3, 1, 1, 0]);
    }

    #[test]
    fn forgotten_volume_leaves_the_others() {
        let mut index = Index::default();
        index.see(spot(1, 1), &object(&name('a'), 1));
        index.see(spot(2, 1), &object(&name('b'), 1));
        index.keep_only(&[spot(2, 0).volume]);
        assert!(index.newest(&name('a')).is_none() && index.newest(&name('b')).is_some());
    }
}
