//! Tells a loop of faults from single ones.

use crate::config;

/// Returns true when so many faults have come in so short a time that another
/// start would not help. `recent` holds the time of each of the last faults in
/// seconds, oldest first; 0 where there are fewer.
pub fn is_loop(recent: &[u64; config::FAULTS]) -> bool {
    let (first, last) = (recent.first(), recent.last());
    let (Some(first @ 1..), Some(last)) = (first.copied(), last.copied())
    else {
        return false;
    };
    let within = u64::try_from(config::FAULT_SECONDS).unwrap_or(u64::MAX);
    last.saturating_sub(first) <= within
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_loop_needs_all_of_them_within_the_time() {
        let within = u64::try_from(config::FAULT_SECONDS).unwrap();
        assert!(!is_loop(&[0; 3]));
        assert!(!is_loop(&[0, 5, 6]));
        assert!(is_loop(&[5, 5, 5]));
        assert!(is_loop(&[5, 6, 5 + within]));
        assert!(!is_loop(&[5, 6, 6 + within]));
    }
}
