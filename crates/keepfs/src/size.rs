//! Sizes and durations as people write and read them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Number of bytes; written `10GiB`, `512MiB`, `1000`; K, M, G and T count in 1024s, with or without `iB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Size(pub(crate) u64);

const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not a size; write 10GiB, 512MiB or a number of bytes");
        let text = text.trim();
        let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
        let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
        let factor = match text[digits..].trim_start().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            _ => return Err(wrong()),
        };
        number.checked_mul(factor).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, factor) in UNITS {
            if self.0 >= factor {
                if self.0.is_multiple_of(factor) {
                    return write!(out, "{} {name}", self.0 / factor);
                }
                return write!(out, "{:.1} {name}", self.0 as f64 / factor as f64);
            }
        }
        write!(out, "{} B", self.0)
    }
}

impl Size {
    /// The shortest form that reads back as exactly this number; for config.toml.
    pub(crate) fn exact(self) -> String {
        for (name, factor) in UNITS {
            if self.0 > 0 && self.0.is_multiple_of(factor) {
                return format!("{}{name}", self.0 / factor);
            }
        }
        self.0.to_string()
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.exact())
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A span of seconds in its two largest units: `3 h 20 min`.
pub(crate) fn span(seconds: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    for (position, (name, length)) in UNITS.iter().enumerate() {
        if seconds < *length {
            continue;
        }
        let (whole, rest) = (seconds / length, seconds % length);
        return match UNITS.get(position + 1) {
            Some((smaller, unit)) if rest >= *unit => format!("{whole} {name} {} {smaller}", rest / unit),
            _ => format!("{whole} {name}"),
        };
    }
    "0 s".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_back() {
        for (text, bytes) in [("0", 0), ("1000", 1000), ("64MiB", 64 << 20), ("10 g", 10 << 30), ("1k", 1024)]
        {
            assert_eq!(text.parse::<Size>().unwrap(), Size(bytes));
            assert_eq!(Size(bytes).exact().parse::<Size>().unwrap(), Size(bytes));
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "MiB", "-1", "1.5GiB", "10 apples", "99999999999T", "18446744073709551616"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_and_spans_are_readable() {
        assert_eq!(Size(64 << 20).to_string(), "64 MiB");
        assert_eq!(Size(1536).to_string(), "1.5 KiB");
        assert_eq!(span(0), "0 s");
        assert_eq!(span(61), "1 min 1 s");
        assert_eq!(span(12_000), "3 h 20 min");
        assert_eq!(span(86_400), "1 d");
    }
}
