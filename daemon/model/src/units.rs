//! Bytes, logical blocks, sector sizes, rates, shares and times, each as a type of its own, so that they cannot be
//! mixed up.
//!
//! The configuration has sizes and rates as text (`"300MiB"`, `"5MB/s"`). JSON has plain numbers of bytes, so that
//! factory systems need no parser for ours.

use std::fmt;
use std::io::{self, SeekFrom};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, Sub};
use std::str::FromStr;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

use crate::hint::Hint;

/// One mebibyte, the alignment of every partition.
pub const MIB: Bytes = Bytes(1 << 20);

/// A number of bytes, or a byte offset on a drive.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// This many mebibytes.
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// The largest multiple of `unit` that is not above this size. `unit` is not zero.
    #[must_use]
    pub fn align_down(self, unit: u64) -> Self {
        Self(self.0 - self.0 % unit)
    }

    /// The smallest multiple of `unit` that is not below this size; `u64::MAX` if 64 bits cannot hold it. `unit` is not
    /// zero.
    #[must_use]
    pub fn align_up(self, unit: u64) -> Self {
        Self(self.0.checked_next_multiple_of(unit).unwrap_or(u64::MAX))
    }

    /// The new position of a reader of this many bytes that seeks from position `at`.
    ///
    /// # Errors
    /// `InvalidInput` if the new position is negative or does not fit 64 bits.
    pub fn seek(self, at: u64, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(delta) => at.checked_add_signed(delta),
            SeekFrom::End(delta) => self.0.checked_add_signed(delta),
        };
        target.ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    /// The difference, or 0 if `other` is larger.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The sum, or `u64::MAX` if 64 bits cannot hold it.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// This size as the length of a buffer. The station runs only on 64-bit machines, where none is cut off.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// The length of a buffer as a size.
    pub fn of(length: usize) -> Self {
        Self(u64::try_from(length).unwrap_or(u64::MAX))
    }
}

/// No drive has so many bytes: such a sum is a mistake of the program, and ends the job or request that computed it.
const OVERFLOW: &str = "a number of bytes beyond 64 bits";

impl Add for Bytes {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.checked_add(other.0).expect(OVERFLOW))
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Bytes {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.checked_sub(other.0).expect("a negative number of bytes"))
    }
}

impl Mul<u64> for Bytes {
    type Output = Self;

    fn mul(self, times: u64) -> Self {
        Self(self.0.checked_mul(times).expect(OVERFLOW))
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self(0), Add::add)
    }
}

impl fmt::Display for Bytes {
    /// Decimal units with one digit, as drives are sold: `512.1 GB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", bytesize::ByteSize::b(self.0).display().si())
    }
}

impl FromStr for Bytes {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let size: bytesize::ByteSize =
            text.trim().parse().map_err(|_| UnitError::Size(text.to_owned()))?;
        // The library returns the largest number for a larger size, which can only be a slip of the pen.
        let counted = Some(size.as_u64()).filter(|size| *size < u64::MAX);
        counted.map(Self).ok_or_else(|| UnitError::Size(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct SizeVisitor;
        impl Visitor<'_> for SizeVisitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"300MiB\", or a number of bytes")
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Bytes, E> {
                Ok(Bytes(value))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Bytes, E> {
                u64::try_from(value).map(Bytes).map_err(|_| {
                    E::custom(format!("{value} is not a size, because it is negative"))
                })
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
                text.parse().map_err(E::custom)
            }
        }
        from.deserialize_any(SizeVisitor)
    }
}

/// Reads a value from text in a configuration file, with the type's `FromStr`.
macro_rules! deserialize_from_text {
    ($type:ty) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

/// A part of a whole, in hundredths of a percent; written as text such as `2.5%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u16);

impl Share {
    /// This many percent, but at most 100.
    pub const fn percent(percent: u8) -> Self {
        // `u16::from` is not const.
        let percent = if percent > 100 { 100 } else { percent };
        Self(percent as u16 * 100)
    }

    /// This part of a number of bytes, rounded down.
    pub fn of(self, whole: Bytes) -> Bytes {
        let part = u128::from(whole.0) * u128::from(self.0) / 10_000;
        Bytes(u64::try_from(part).unwrap_or(whole.0))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 100.0)
    }
}

impl FromStr for Share {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || UnitError::Share(text.to_owned());
        let number = text.trim().strip_suffix('%').ok_or_else(wrong)?.trim();
        let (whole, rest) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(rest) || rest.len() > 2 {
            return Err(wrong());
        }
        let hundredths: u32 = format!("{whole}{rest:0<2}").parse().map_err(|_| wrong())?;
        let share = u16::try_from(hundredths).ok().filter(|share| *share <= 10_000);
        share.map(Self).ok_or_else(wrong)
    }
}

deserialize_from_text!(Share);

/// A length of time; in a configuration file `90s`, `2m` or `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub std::time::Duration);

impl Period {
    /// This many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }
}

impl FromStr for Period {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let parsed = text.parse::<jiff::SignedDuration>().ok();
        let period = parsed.and_then(|period| std::time::Duration::try_from(period).ok());
        period.map(Self).ok_or_else(|| UnitError::Period(text.to_owned()))
    }
}

deserialize_from_text!(Period);

/// Bytes per second.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct ByteRate(pub u64);

impl ByteRate {
    /// The mean rate at which `bytes` were moved in `elapsed`; 0 if no time has passed.
    pub fn mean(bytes: Bytes, elapsed: std::time::Duration) -> Self {
        let nanos = elapsed.as_nanos();
        if nanos == 0 {
            return Self(0);
        }
        Self(u64::try_from(u128::from(bytes.0) * 1_000_000_000 / nanos).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", Bytes(self.0))
    }
}

impl FromStr for ByteRate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let size =
            text.trim().strip_suffix("/s").ok_or_else(|| UnitError::Rate(text.to_owned()))?;
        size.parse::<Bytes>().map(|b| Self(b.0)).map_err(|_| UnitError::Rate(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for ByteRate {
    /// Reads a number of bytes per second, as in records, or text with a unit, as in the configuration.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(u64),
            Text(String),
        }
        match Either::deserialize(from)? {
            Either::Number(rate) => Ok(Self(rate)),
            Either::Text(text) => text.parse().map_err(de::Error::custom),
        }
    }
}

/// Logical sector size of a drive: one of the two sizes that Windows boots from.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(try_from = "u32", into = "u32")]
pub enum SectorSize {
    /// 512-byte sectors (512n and 512e drives).
    B512,
    /// 4096-byte sectors (4Kn drives).
    B4096,
}

impl SectorSize {
    /// Bytes per logical sector.
    pub fn bytes(self) -> u64 {
        match self {
            Self::B512 => 512,
            Self::B4096 => 4096,
        }
    }
}

impl TryFrom<u32> for SectorSize {
    type Error = UnitError;

    fn try_from(bytes: u32) -> Result<Self, UnitError> {
        match bytes {
            512 => Ok(Self::B512),
            4096 => Ok(Self::B4096),
            _ => Err(UnitError::SectorSize(bytes)),
        }
    }
}

impl From<SectorSize> for u32 {
    fn from(size: SectorSize) -> u32 {
        match size {
            SectorSize::B512 => 512,
            SectorSize::B4096 => 4096,
        }
    }
}

/// A logical block address: a sector number counted from the start of the drive.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct Lba(pub u64);

impl Lba {
    /// The byte offset of this block on a drive with sectors of this size.
    pub fn offset(self, sector: SectorSize) -> Bytes {
        Bytes(self.0 * sector.bytes())
    }
}

/// A size, rate, share or length of time that cannot be read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum UnitError {
    #[error("{0:?} is not a size")]
    Size(String),
    #[error("{0:?} is not a rate")]
    Rate(String),
    #[error("{0:?} is not a share")]
    Share(String),
    #[error("{0:?} is not a length of time")]
    Period(String),
    #[error("logical sectors of {0} bytes are not supported, only 512 and 4096")]
    SectorSize(u32),
}

impl UnitError {
    /// How to write a size.
    pub const SIZE: &str = "write for example \"20GiB\" or \"512GB\"";
    /// How to write a rate.
    pub const RATE: &str = "write for example \"5MB/s\"";
    /// How to write a share.
    pub const SHARE: &str = "write for example \"2.5%\"";
    /// How to write a length of time.
    pub const PERIOD: &str = "write for example \"90s\" or \"2m\"";
}

impl Hint for UnitError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Size(_) => Self::SIZE,
            Self::Rate(_) => Self::RATE,
            Self::Share(_) => Self::SHARE,
            Self::Period(_) => Self::PERIOD,
            Self::SectorSize(_) => return None,
        };
        Some(hint.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_rates_read_back_as_written() {
        assert_eq!("300MiB".parse::<Bytes>().unwrap(), Bytes::mib(300));
        assert_eq!("20 GB".parse::<Bytes>().unwrap(), Bytes(20_000_000_000));
        assert_eq!("4096".parse::<Bytes>().unwrap(), Bytes(4096));
        assert_eq!("5MB/s".parse::<ByteRate>().unwrap(), ByteRate(5_000_000));
        assert!("5MB".parse::<ByteRate>().is_err());
        assert!("lots".parse::<Bytes>().is_err());
        assert_eq!(Bytes(512_110_190_592).to_string(), "512.1 GB");
    }

    #[test]
    fn shares_and_periods_are_read() {
        assert_eq!("1%".parse::<Share>().unwrap(), Share::percent(1));
        assert_eq!("0.25%".parse::<Share>().unwrap().of(Bytes(40_000)), Bytes(100));
        assert_eq!(Share::percent(100).of(Bytes(u64::MAX)), Bytes(u64::MAX));
        for text in ["1", "101%", "-1%", "1.234%", "%", "1e2%", "x%"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
        assert_eq!("2m".parse::<Period>().unwrap(), Period::seconds(120));
        assert_eq!("1h 30m".parse::<Period>().unwrap(), Period::seconds(5400));
        for text in ["-2s", "soon", "10", ""] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
        assert!("99999999999999TiB".parse::<Bytes>().is_err(), "more than can be counted");
    }

    #[test]
    fn mistakes_are_told_apart_from_their_hints() {
        let size = "many".parse::<Bytes>().unwrap_err();
        let rate = "5MB".parse::<ByteRate>().unwrap_err();
        let share = "2".parse::<Share>().unwrap_err();
        let period = "soon".parse::<Period>().unwrap_err();
        let sector = SectorSize::try_from(520).unwrap_err();
        for (error, message, hint) in [
            (size, "\"many\" is not a size", Some("write for example \"20GiB\" or \"512GB\"")),
            (rate, "\"5MB\" is not a rate", Some("write for example \"5MB/s\"")),
            (share, "\"2\" is not a share", Some("write for example \"2.5%\"")),
            (
                period,
                "\"soon\" is not a length of time",
                Some("write for example \"90s\" or \"2m\""),
            ),
            (sector, "logical sectors of 520 bytes are not supported, only 512 and 4096", None),
        ] {
            assert_eq!((&*error.to_string(), error.hint().as_deref()), (message, hint));
        }
    }

    #[test]
    fn alignment_is_exact_at_multiples() {
        assert_eq!(Bytes(4096).align_up(4096), Bytes(4096));
        assert_eq!(Bytes(4097).align_up(4096), Bytes(8192));
        assert_eq!(Bytes(8191).align_down(4096), Bytes(4096));
        assert_eq!(Bytes(u64::MAX - 9).align_up(4096), Bytes(u64::MAX), "no wrapping to nothing");
    }
}
