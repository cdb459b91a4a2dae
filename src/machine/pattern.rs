//! Matches lines against the patterns of svlogd (contract §5.4).
//!
//! `*` before a character skips to the first such character; `*` at the end
//! takes the rest; `+c` takes one or more `c`. There is no backtracking, so
//! the time is linear in the length of the line.

use crate::text::find;

/// Returns true if `pattern` matches the whole of `line`.
pub fn matches(pattern: &[u8], line: &[u8]) -> bool {
    let mut rest = line;
    let mut pattern = pattern;
    loop {
        match pattern {
            [] => return rest.is_empty(),
            [b'*'] => return true,
            [b'*', stop, tail @ ..] => {
                let Some(found) = find(rest, *stop) else {
                    return false;
                };
                rest = rest.get(found.saturating_add(1)..).unwrap_or(&[]);
                pattern = tail;
            }
            [b'+', many, tail @ ..] => {
                let [first, behind @ ..] = rest else {
                    return false;
                };
                if first != many {
                    return false;
                }
                let end = behind.iter().position(|byte| byte != many);
                // A line that ends inside the run matches, regardless of the
                // rest of the pattern.
                let Some(end) = end else { return true };
                rest = behind.get(end..).unwrap_or(&[]);
                pattern = tail;
            }
            [one, tail @ ..] => {
                let [first, behind @ ..] = rest else {
                    return false;
                };
                if first != one {
                    return false;
                }
                rest = behind;
                pattern = tail;
            }
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rules_of_the_contract() {
        let rows = [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("abc", "ab", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("a*", "abc", true),
            ("*b", "aab", true),
            ("*b", "aabb", false),
            ("*b*", "aabb", true),
            ("*: *", "x: y", true),
            ("+ab", "aaab", true),
            ("+ab", "b", false),
            ("+ab", "aaa", true),
            ("+a", "aaa", true),
            ("+", "+", true),
            ("+*x", "**x", true),
        ];
        for (pattern, line, holds) in rows {
            let found = matches(pattern.as_bytes(), line.as_bytes());
            assert_eq!(found, holds, "{pattern} on {line}");
        }
    }

    /// Applies the rules of the contract literally: tries what may follow a
    /// pattern's first element at every split of the line.
    fn naive(pattern: &[u8], line: &[u8]) -> bool {
        let Some(element) = pattern.first() else {
            return line.is_empty();
        };
        let (element, rest) = match (element, pattern.get(1)) {
            (b'*', None) => return true,
            (b'*' | b'+', Some(_)) => pattern.split_at(2),
            _ => pattern.split_at(1),
        };
        (0..=line.len()).any(|cut| {
            let (taken, left) = line.split_at(cut);
            let covered = match element {
                [b'*', stop] => {
                    taken.last() == Some(stop)
                        && taken.iter().filter(|b| *b == stop).count() == 1
                }
                [b'+', many] => {
                    !taken.is_empty()
                        && taken.iter().all(|b| b == many)
                        && left.first() != Some(many)
                }
                _ => taken == element,
            };
            let ends_inside = matches!(element, [b'+', _]) && left.is_empty();
            covered && (ends_inside || naive(rest, left))
        })
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_matcher(
            pattern in "[ab+*]{0,8}", line in "[ab+*]{0,12}"
        ) {
            let (pattern, line) = (pattern.as_bytes(), line.as_bytes());
            prop_assert_eq!(matches(pattern, line), naive(pattern, line));
        }

        #[test]
        fn plain_patterns_match_themselves_only(
            pattern in "[a-c]{0,6}", line in "[a-c]{0,6}"
        ) {
            let found = matches(pattern.as_bytes(), line.as_bytes());
            prop_assert_eq!(found, pattern == line);
        }

        #[test]
        fn a_star_stops_at_the_first(
            head in "[ab]{0,5}", tail in "[abc]{0,5}"
        ) {
            let line = format!("{head}c{tail}");
            let pattern = format!("*c{tail}");
            prop_assert!(matches(pattern.as_bytes(), line.as_bytes()));
        }
    }
}
