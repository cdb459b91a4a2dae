//! Lists of capabilities (capabilities(7)).

/// The kernel's names in the order of their numbers, without `cap_`.
const NAMES: &str = "chown dac_override dac_read_search fowner fsetid kill \
    setgid setuid setpcap linux_immutable net_bind_service net_broadcast \
    net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot \
    sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time \
    sys_tty_config mknod lease audit_write audit_control setfcap \
    mac_override mac_admin syslog wake_alarm block_suspend audit_read \
    perfmon bpf checkpoint_restore";

use crate::text::whole_number;

/// Set of capabilities: bit N is number N.
pub type Set = u64;

/// Reads a list: names with or without `cap_` in either case, numbers up to
/// 63, `all`, `none`, separated by commas; `~` in front means all except
/// these. Returns `None` if a word is none of these.
pub fn set(text: &[u8]) -> Option<Set> {
    let (but, list) = match text {
        [b'~', list @ ..] => (true, list),
        list => (false, list),
    };
    let mut set = 0;
    for word in list.split(|byte| *byte == b',') {
        set |= one(word)?;
    }
    Some(if but { !set } else { set })
}

/// Returns the set of a word.
fn one(word: &[u8]) -> Option<Set> {
    if word == b"all" {
        return Some(Set::MAX);
    }
    if word == b"none" {
        return Some(0);
    }
    let number = whole_number(word).or_else(|| {
        let bare = match word.split_at_checked(4) {
            Some((head, bare)) if same(head, b"cap_") => bare,
            _ => word,
        };
        let mut names = NAMES.as_bytes().split(|byte| *byte == b' ');
        let number = names.position(|name| same(bare, name))?;
        u64::try_from(number).ok()
    })?;
    1_u64.checked_shl(u32::try_from(number).ok()?)
}

/// Returns true if a word is this name, in either case.
fn same(word: &[u8], name: &[u8]) -> bool {
    let lower = word.iter().map(u8::to_ascii_lowercase);
    word.len() == name.len() && lower.eq(name.iter().copied())
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(set(b"chown"), Some(1));
        assert_eq!(set(b"CAP_NET_RAW,cap_kill,0"), Some(1 << 13 | 1 << 5 | 1));
        assert_eq!(set(b"checkpoint_restore"), Some(1 << 40));
        assert_eq!(set(b"setfcap"), Some(1 << 31));
        assert_eq!(set(b"63"), Some(1 << 63));
        assert_eq!(set(b"none"), Some(0));
        assert_eq!(set(b"~none"), Some(Set::MAX));
        assert_eq!(set(b"~all"), Some(0));
        assert_eq!(set(b"~0,1"), Some(!3));
        for wrong in [&b""[..], b"64", b"cap_", b"a", b"kill,", b"kill kill"] {
            assert_eq!(set(wrong), None, "{wrong:?}");
        }
    }
}
