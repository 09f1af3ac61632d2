//! What is done to things. Owns the list; does nothing itself.

use keepfs_sim::noise;
use keepfs_store::ObjectName;

use crate::vault::{Changes, Place, Vault};

/// One harm to one thing, or two.
#[derive(Clone, Debug)]
pub(crate) enum Harm {
    /// One bit of one byte is another.
    Flip { of: Place, at: usize },
    /// The thing ends here.
    Cut { of: Place, len: usize },
    /// More stands behind it.
    Extend { of: Place, by: &'static [u8] },
    /// It stands there twice, one behind the other.
    Double { of: Place },
    /// It is as long as it was, and zeroes.
    Zeros { of: Place },
    /// Two have each other's place.
    Swap { one: Place, other: Place },
    /// One stands in the place of another as well.
    Instead { of: Place, by: Place },
    /// It is there once more, under a name that nothing has.
    Copy { of: Place },
    /// It is gone.
    Delete { of: Place },
}

/// What is appended to things: as little as there is, a sector, more than a page.
const TAILS: [&[u8]; 4] = [&[0], &[0x5a], &[0; 512], &[0xff; 5000]];

/// Bytes at each end that are never left out.
const ENDS: usize = 70;

/// The bytes that are harmed of a thing of this length: all, or both ends and a part of what is between.
pub(crate) fn positions(len: usize, limit: usize) -> Vec<usize> {
    if len <= limit {
        return (0..len).collect();
    }
    let ends = ENDS.min(limit / 3);
    let between = limit - 2 * ends;
    let middle = len - 2 * ends;
    let step = |at: usize| ends + (at as u128 * middle as u128 / between as u128) as usize;
    (0..ends).chain((0..between).map(step)).chain(len - ends..len).collect()
}

/// Every harm.
pub(crate) fn all(vault: &Vault, limit: usize) -> impl Iterator<Item = Harm> + '_ {
    let places: Vec<&Place> = vault.things.keys().collect();
    let single = vault.things.iter().flat_map(move |(place, bytes)| one(place, bytes.len(), limit));
    let pairs = (0..places.len()).flat_map(move |at| {
        let places = places.clone();
        (0..places.len()).filter(move |other| *other != at).flat_map(move |other| {
            let (one, other_place) = (places[at].clone(), places[other].clone());
            let swap = (at < other).then(|| Harm::Swap { one: one.clone(), other: other_place.clone() });
            swap.into_iter().chain([Harm::Instead { of: one, by: other_place }])
        })
    });
    single.chain(pairs)
}

fn one(place: &Place, len: usize, limit: usize) -> impl Iterator<Item = Harm> + use<> {
    let place = place.clone();
    let flips = positions(len, limit).into_iter();
    let cuts = positions(len, limit).into_iter();
    let (a, b, c) = (place.clone(), place.clone(), place.clone());
    flips
        .map(move |at| Harm::Flip { of: a.clone(), at })
        .chain(cuts.map(move |len| Harm::Cut { of: b.clone(), len }))
        .chain(TAILS.into_iter().map(move |by| Harm::Extend { of: c.clone(), by }))
        .chain([
            Harm::Double { of: place.clone() },
            Harm::Zeros { of: place.clone() },
            Harm::Copy { of: place.clone() },
            Harm::Delete { of: place },
        ])
}

impl Harm {
    /// The kind of thing and of harm.
    pub(crate) fn told(&self, vault: &Vault) -> String {
        let kind = |place| vault.kind(place);
        match self {
            Self::Flip { of, .. } => format!("{}, a byte flipped", kind(of)),
            Self::Cut { of, .. } => format!("{}, cut", kind(of)),
            Self::Extend { of, .. } | Self::Double { of } => format!("{}, extended", kind(of)),
            Self::Zeros { of } => format!("{}, zeroed", kind(of)),
            Self::Copy { of } => format!("{}, copied", kind(of)),
            Self::Delete { of } => format!("{}, deleted", kind(of)),
            Self::Swap { one, .. } => format!("{}, exchanged with another thing", kind(one)),
            Self::Instead { of, .. } => format!("{}, replaced by another thing", kind(of)),
        }
    }

    /// What it makes of things.
    pub(crate) fn changes(&self, vault: &Vault) -> Changes {
        let bytes = |place: &Place| vault.things[place].clone();
        let only = |place: &Place, bytes: Vec<u8>| Changes::from([(place.clone(), Some(bytes))]);
        match self {
            Self::Flip { of, at } => {
                let mut changed = bytes(of);
                changed[*at] ^= 1 << (at % 8);
                only(of, changed)
            }
            Self::Cut { of, len } => only(of, bytes(of)[..*len].to_vec()),
            Self::Extend { of, by } => only(of, [&bytes(of)[..], by].concat()),
            Self::Double { of } => only(of, bytes(of).repeat(2)),
            Self::Zeros { of } => only(of, vec![0; bytes(of).len()]),
            Self::Swap { one, other } => {
                Changes::from([(one.clone(), Some(bytes(other))), (other.clone(), Some(bytes(one)))])
            }
            Self::Instead { of, by } => only(of, bytes(by)),
            Self::Copy { of } => only(&free_place(of), bytes(of)),
            Self::Delete { of } => Changes::from([(of.clone(), None)]),
        }
    }
}

/// A place of the same sort that nothing has.
fn free_place(of: &Place) -> Place {
    let free = |name: &ObjectName| match name.as_str().split_once('/') {
        Some(("h", _)) => ObjectName::new("h/aaaaaaaaaaaaaaaaaaaaaaaaaa").unwrap(),
        _ => ObjectName::immutable("aaaaaaaaaaaaaaaaaaaaaaaaaa").unwrap(),
    };
    match of {
        Place::Object(name) => Place::Object(free(name)),
        Place::Staged(name) => Place::Staged(free(name)),
        Place::Cached(key) => Place::Cached(format!("{}x", &key[..key.len() - 1])),
        Place::File(path) => {
            let name = path.file_name().unwrap().to_str().unwrap();
            let free = match name.split_once('-') {
                Some((kind, _)) => format!("{kind}-{:016x}", 0xfff),
                None => format!("{name}.{}", noise(1, 1)[0]),
            };
            Place::File(path.with_file_name(free))
        }
    }
}
