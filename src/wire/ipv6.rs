//! Reads IPv6 addresses (RFC 4291 §2.2); the reader of `core` can panic.

use core::net::{Ipv4Addr, Ipv6Addr};

use heapless::Vec;

/// Groups of 16 bits.
type Groups = Vec<u16, 8>;

/// Reads an address, such as `2001:db8::1` or `::ffff:192.0.2.1`; `None` for
/// anything else. `v4` reads the last four bytes as an IPv4 address.
pub fn parse(
    text: &[u8],
    v4: impl Fn(&[u8]) -> Option<Ipv4Addr>,
) -> Option<Ipv6Addr> {
    let (mut head, mut tail) = (Groups::new(), Groups::new());
    let mut rest = text;
    let mut gap = false;
    if let [b':', b':', behind @ ..] = rest {
        (gap, rest) = (true, behind);
    }
    while !rest.is_empty() {
        let groups = if gap { &mut tail } else { &mut head };
        let end = rest.iter().position(|byte| *byte == b':');
        let (part, behind) =
            rest.split_at_checked(end.unwrap_or(rest.len()))?;
        if end.is_none() && part.contains(&b'.') {
            let [a, b, c, d] = v4(part)?.octets();
            groups.push(u16::from_be_bytes([a, b])).ok()?;
            groups.push(u16::from_be_bytes([c, d])).ok()?;
        } else {
            groups.push(group(part)?).ok()?;
        }
        rest = match behind {
            [b':', b':', ..] if gap => return None,
            [b':', b':', behind @ ..] => {
                gap = true;
                behind
            }
            [] => &[],
            [b':'] => return None,
            [_, behind @ ..] => behind,
        };
    }
    let count = head.len().saturating_add(tail.len());
    let zeros = 8_usize.checked_sub(count)?;
    if gap != (zeros > 0) {
        return None;
    }
    let middle = core::iter::repeat_n(0, zeros);
    let mut all = [0; 8];
    let tail = tail.iter().copied();
    let groups = head.iter().copied().chain(middle).chain(tail);
    for (place, group) in all.iter_mut().zip(groups) {
        *place = group;
    }
    Some(Ipv6Addr::from(all))
}

/// Reads up to four hexadecimal digits.
fn group(text: &[u8]) -> Option<u16> {
    if !(1..=4).contains(&text.len()) {
        return None;
    }
    let mut digits = text.iter().map(|byte| char::from(*byte).to_digit(16));
    let value = digits.try_fold(0, |value, digit| Some(value << 4 | digit?));
    u16::try_from(value?).ok()
}

#[cfg(test)]
mod test {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<Ipv6Addr> {
        let v4 = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok();
        parse(text.as_bytes(), v4)
    }

    proptest! {
        #[test]
        fn agrees_with_the_reader_of_core(
            text in "[0-9a-fA-F]{0,5}(:{1,3}[0-9a-f]{1,5}){0,8}:{0,2}(1\\.2\\.3\\.[0-9]{1,3})?",
            groups in prop::array::uniform8(prop_oneof![Just(0), any::<u16>()]),
        ) {
            prop_assert_eq!(read(&text), text.parse().ok(), "{}", text);
            let ip = Ipv6Addr::from(groups);
            prop_assert_eq!(read(&ip.to_string()), Some(ip));
        }
    }

    #[test]
    fn unusual_forms() {
        for text in [
            "",
            ":",
            "::",
            ":::",
            "1",
            "1:",
            ":1",
            "::1:",
            "1::",
            "1:::2",
            "1::2::3",
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7::",
            "::1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "1:2:3:4::5:6:7:8",
            "g::",
            "12345::",
            "::1.2.3.4",
            "1.2.3.4::",
            "1:2:3:4:5:6:1.2.3.4",
            "1:2:3:4:5:6:7:1.2.3.4",
            "::1.2.3",
            "::1.2.3.4:5",
        ] {
            assert_eq!(read(text), text.parse().ok(), "{text}");
        }
    }
}
