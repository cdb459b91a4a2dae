//! Timestamps of svlogd's lines: 25 characters and a space (contract §5.3).

use heapless::Vec;

use super::{clock::Wall, tai};
use crate::text::whole_number;

/// The style of a stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// None.
    Plain,
    /// `-t`: a TAI64N label.
    Label,
    /// `-tt`: `YYYY-MM-DD_HH:MM:SS.nnnnn`, UTC.
    Date,
    /// `-ttt`: the same with a `T`.
    Iso,
}

/// Timestamp and space; empty for [`Style::Plain`].
pub type Stamp = Vec<u8, { tai::LABEL + 1 }>;

/// Timestamps of the lines of one read, of which only the first is formatted.
#[derive(Clone, Debug)]
pub struct Stamps {
    style: Style,
    wall: Wall,
    stamp: Stamp,
}

impl Stamps {
    /// Returns the stamps that begin at this time.
    pub fn new(style: Style, wall: Wall) -> Self {
        Self {
            style,
            wall,
            stamp: stamp(style, wall),
        }
    }

    /// Returns the stamp of the current line.
    pub fn stamp(&self) -> &[u8] {
        &self.stamp
    }

    /// Advances to the next line. Labels grow by a nanosecond for each line,
    /// so that sorting by them keeps the order of the lines; dates are
    /// coarser.
    pub fn advance(&mut self) {
        if self.style != Style::Label {
            return;
        }
        self.wall = self.wall.next();
        if self.wall.nanos == 0 {
            self.stamp = stamp(self.style, self.wall);
            return;
        }
        // Add one, in hexadecimal digits, before the space.
        for digit in self.stamp.iter_mut().rev().skip(1) {
            *digit = match *digit {
                b'9' => b'a',
                b'f' => b'0',
                digit => digit.wrapping_add(1),
            };
            if *digit != b'0' {
                return;
            }
        }
    }
}

/// Formats a time. A year beyond 9999 shows its last four digits.
pub fn stamp(style: Style, wall: Wall) -> Stamp {
    let mut stamp = Stamp::new();
    let mut put = |bytes: &[u8]| {
        // 26 bytes fit: 25 of any style and the space.
        let _fits = stamp.extend_from_slice(bytes).is_ok();
    };
    let between: &[u8] = match style {
        Style::Plain => return stamp,
        Style::Label => {
            put(&tai::label(wall));
            put(b" ");
            return stamp;
        }
        Style::Date => b"_",
        Style::Iso => b"T",
    };
    let (year, month, day) = civil(wall.secs / 86_400);
    let second = wall.secs % 86_400;
    put(&digits::<4>(year));
    put(b"-");
    put(&digits::<2>(month));
    put(b"-");
    put(&digits::<2>(day));
    put(between);
    put(&digits::<2>(second / 3600));
    put(b":");
    put(&digits::<2>(second / 60 % 60));
    put(b":");
    put(&digits::<2>(second % 60));
    put(b".");
    put(&digits::<5>(u64::from(wall.nanos) / 10_000));
    put(b" ");
    stamp
}

/// Reads a time in the format of [`Style::Date`], without the space.
///
/// Returns `None` for anything else, including a day that does not exist.
pub fn parse(text: &[u8]) -> Option<Wall> {
    let (text, part) = text.split_at_checked(20)?;
    let (date, time) = text.split_at_checked(11)?;
    let number = |text: Option<&[u8]>| whole_number(text?);
    let year = number(date.get(..4))?;
    let month = number(date.get(5..7))?;
    let day = number(date.get(8..10))?;
    let hour = number(time.get(..2))?;
    let minute = number(time.get(3..5))?;
    let second = number(time.get(6..8))?;
    let days = days(year, month, day);
    let nanos = u32::try_from(number(Some(part))?).ok()?;
    let secs = days
        .saturating_mul(24)
        .saturating_add(hour)
        .saturating_mul(60)
        .saturating_add(minute)
        .saturating_mul(60)
        .saturating_add(second);
    let wall = Wall {
        secs,
        nanos: nanos.saturating_mul(10_000),
    };
    // An invalid date, or one in another format, is formatted differently.
    let again = stamp(Style::Date, wall);
    let same = date.iter().chain(time).chain(part).eq(again.trim_ascii());
    same.then_some(wall)
}

/// Returns the days from 1970-01-01 to a day; the inverse of [`civil`].
fn days(year: u64, month: u64, day: u64) -> u64 {
    // Years and months from March, as in `civil`.
    let early = u64::from(month < 3);
    let year = year.wrapping_sub(early);
    let month = month.wrapping_add(early.wrapping_mul(12)).wrapping_sub(3);
    let leaps = (year / 4).wrapping_sub(year / 100).wrapping_add(year / 400);
    let before = month.wrapping_mul(153).wrapping_add(2) / 5;
    year.wrapping_mul(365)
        .wrapping_add(leaps)
        .wrapping_add(before)
        .wrapping_add(day)
        .wrapping_sub(BEFORE.wrapping_add(1))
}

/// Days from 0000-03-01 to 1970-01-01.
const BEFORE: u64 = 719_468;

/// Returns the last `N` decimal digits of a number.
fn digits<const N: usize>(number: u64) -> [u8; N] {
    let mut rest = number;
    let mut digits = [b'0'; N];
    for to in digits.iter_mut().rev() {
        let digit = u8::try_from(rest % 10).unwrap_or(0);
        *to = b'0'.wrapping_add(digit);
        rest /= 10;
    }
    digits
}

/// Returns year, month and day of a day since 1970-01-01.
///
/// Years are counted from March, so that the leap day is the last one of a
/// year, and from the year 0, so that 400-year cycles begin there.
fn civil(days: u64) -> (u64, u64, u64) {
    /// Days of 400, 100, 4 years and 1 year.
    const CYCLE: u64 = 146_097;
    const CENTURY: u64 = 36_524;
    const FOUR: u64 = 1461;
    let days = days.saturating_add(BEFORE);
    let cycle = days / CYCLE;
    let day = days % CYCLE;
    // The last century of a cycle and the last year of four have one day
    // more: they must not count as a fifth.
    let century = (day / CENTURY).min(3);
    let day = day.wrapping_sub(century.wrapping_mul(CENTURY));
    let four = day / FOUR;
    let day = day % FOUR;
    let year = (day / 365).min(3);
    let day = day.wrapping_sub(year.wrapping_mul(365));
    // Months from March have 153 days in five, as near as whole days go.
    let month = day.wrapping_mul(5).wrapping_add(2) / 153;
    let first = month.wrapping_mul(153).wrapping_add(2) / 5;
    let day = day.wrapping_sub(first).wrapping_add(1);
    let (month, next) = if month < 10 {
        (month.wrapping_add(3), 0)
    } else {
        (month.wrapping_sub(9), 1)
    };
    let year = cycle
        .wrapping_mul(400)
        .wrapping_add(century.wrapping_mul(100))
        .wrapping_add(four.wrapping_mul(4))
        .wrapping_add(year)
        .wrapping_add(next);
    (year, month, day)
}

#[cfg(test)]
mod test {
    use super::*;

    fn text(style: Style, secs: u64, nanos: u32) -> String {
        let stamp = stamp(style, Wall { secs, nanos });
        String::from_utf8(stamp.to_vec()).unwrap()
    }

    #[test]
    fn the_styles() {
        assert_eq!(text(Style::Plain, 0, 0), "");
        assert_eq!(text(Style::Label, 0, 1), "@400000000000000a00000001 ");
        assert_eq!(
            text(Style::Date, 1_700_000_000, 123_456_789),
            "2023-11-14_22:13:20.12345 "
        );
        assert_eq!(
            text(Style::Iso, 951_782_400, 0),
            "2000-02-29T00:00:00.00000 "
        );
        assert_eq!(
            text(Style::Iso, 4_107_542_400, 999_999_999),
            "2100-03-01T00:00:00.99999 "
        );
    }

    #[test]
    fn a_date_is_read_back() {
        let wall = Wall {
            secs: 1_700_000_000,
            nanos: 123_450_000,
        };
        assert_eq!(parse(b"2023-11-14_22:13:20.12345"), Some(wall));
        for wrong in [
            "",
            "2023-11-14_22:13:20",
            "2023-02-29_22:13:20.00000",
            "2023-00-14_22:13:20.00000",
            "2023-11-14_24:13:20.00000",
            "2023-11-14T22:13:20.00000",
            "2023-11-14_22:13:20.1234",
            "2023-11-14_22:13:20.123456",
            "1969-12-31_23:59:59.00000",
            "99999999999999999999999999",
            "2023-11-1x_22:13:20.00000",
        ] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn the_next_line_is_a_nanosecond_later() {
        for nanos in [0, 8, 9, 15, 255, 999_999_990] {
            let mut wall = Wall { secs: 7, nanos };
            let mut stamps = Stamps::new(Style::Label, wall);
            for _ in 0..40 {
                assert_eq!(stamps.stamp(), &stamp(Style::Label, wall)[..]);
                stamps.advance();
                wall = wall.next();
            }
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let leap = |y: u64| y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
        let mut expected = (1970, 1, 1);
        for day in 0..250_000 {
            assert_eq!(civil(day), expected);
            let (y, m, d) = expected;
            assert_eq!(days(y, m, d), day);
            let length = match m {
                2 => 28 + u64::from(leap(y)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            expected = match (m, d == length) {
                (_, false) => (y, m, d + 1),
                (12, true) => (y + 1, 1, 1),
                (_, true) => (y, m + 1, 1),
            };
        }
    }
}
