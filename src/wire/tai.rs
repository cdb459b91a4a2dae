//! TAI64N: the 12-byte form of a time and its 25-character label.
//!
//! The value is Unix seconds + 2^62 + 10, big endian, followed by the
//! nanoseconds, big endian. No table of leap seconds is used (contract §0.4).

use super::clock::Wall;

/// TAI64 value of the Unix epoch.
const EPOCH: u64 = 0x4000_0000_0000_000a;

/// Length of the binary form in bytes.
pub const BYTES: usize = 12;

/// Length of a label in characters: `@` and 24 hexadecimal digits.
pub const LABEL: usize = 25;

/// Encodes a time in 12 bytes.
pub fn pack(wall: Wall) -> [u8; BYTES] {
    let [a, b, c, d, e, f, g, h] = wall.secs.wrapping_add(EPOCH).to_be_bytes();
    let [i, j, k, l] = wall.nanos.to_be_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

/// Decodes the 12-byte form; a time before 1970 is read as 1970, and more
/// nanoseconds than a second has as the last one.
pub fn unpack(bytes: [u8; BYTES]) -> Wall {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
    let secs = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    Wall {
        secs: secs.saturating_sub(EPOCH),
        nanos: u32::from_be_bytes([i, j, k, l]).min(999_999_999),
    }
}

/// Returns the label: `@` and 24 lower-case hexadecimal digits.
pub fn label(wall: Wall) -> [u8; LABEL] {
    let mut label = [b'@'; LABEL];
    let mut value = u128::from(wall.secs.wrapping_add(EPOCH)) << 32
        | u128::from(wall.nanos);
    for digit in label.iter_mut().skip(1).rev() {
        let [low, ..] = value.to_le_bytes();
        *digit = match low & 15 {
            digit @ 0..10 => b'0'.wrapping_add(digit),
            digit => b'a'.wrapping_sub(10).wrapping_add(digit),
        };
        value >>= 4;
    }
    label
}

#[cfg(test)]
mod test {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_label_of_a_known_moment() {
        let wall = Wall {
            secs: 0x6b02_866e - 10,
            nanos: 0x0696_12c4,
        };
        assert_eq!(&label(wall), b"@400000006b02866e069612c4");
    }

    /// Contract §0.4: a label spells the 12 bytes.
    #[test]
    fn a_label_spells_every_digit() {
        let wall = Wall {
            secs: 0x0123_4567_89ab_cdef,
            nanos: 0x0fed_cba9,
        };
        let bytes = pack(wall).map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(label(wall).to_vec(), format!("@{bytes}").into_bytes());
        assert_eq!(unpack([0; BYTES]), Wall { secs: 0, nanos: 0 });
    }

    proptest! {
        #[test]
        fn unpack_undoes_pack(secs in 0..1u64 << 62, nanos in 0..1_000_000_000u32) {
            let wall = Wall { secs, nanos };
            prop_assert_eq!(unpack(pack(wall)), wall);
        }
    }
}
