//! How svlogd stamps a line: 25 characters and a space (contract §5.3).

use heapless::Vec;

use super::{clock::Wall, tai};

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

/// A stamp and its space; empty for [`Style::Plain`].
pub type Stamp = Vec<u8, { tai::LABEL + 1 }>;

/// The stamp of a moment. A year beyond 9999 shows its last four digits.
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

/// The last `N` decimal digits of a number.
fn digits<const N: usize>(number: u64) -> [u8; N] {
    let mut rest = number;
    let mut digits = [b'0'; N];
    for place in digits.iter_mut().rev() {
        let digit = u8::try_from(rest % 10).unwrap_or(0);
        *place = b'0'.wrapping_add(digit);
        rest /= 10;
    }
    digits
}

/// Year, month and day of a day since 1970-01-01.
///
/// Counted in years that begin in March, so that the odd day is the last one
/// of a year, and from the year 0, so that 400-year cycles begin there.
fn civil(days: u64) -> (u64, u64, u64) {
    /// Days from 0000-03-01 to 1970-01-01.
    const BEFORE: u64 = 719_468;
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
    fn every_day_follows_the_one_before() {
        let leap = |y: u64| y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
        let mut expected = (1970, 1, 1);
        for day in 0..250_000 {
            assert_eq!(civil(day), expected);
            let (y, m, d) = expected;
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
