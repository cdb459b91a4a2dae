//! Kernel modules that a board wants, and their files: lines of /etc/modules
//! and of modules.dep (modules(5), depmod(8)).

/// A line of /etc/modules: a module and its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module<'a> {
    /// Name, or path of the file below the kernel's directory.
    pub name: &'a [u8],
    /// Text after the name.
    pub parameters: &'a [u8],
}

impl<'a> Module<'a> {
    /// Reads a line; `None` for blanks and comments.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.trim_ascii();
        let end = line.iter().position(u8::is_ascii_whitespace);
        let (name, rest) = line.split_at_checked(end.unwrap_or(line.len()))?;
        let wanted = !matches!(name, [] | [b'#' | b';', ..]);
        wanted.then_some(Self {
            name,
            parameters: rest.trim_ascii_start(),
        })
    }
}

/// Returns the files in a line of modules.dep if it is about the module
/// `name`: the module's own first, then its dependencies; they must be loaded
/// last to first.
pub fn files<'a>(
    line: &'a [u8],
    name: &[u8],
) -> Option<impl DoubleEndedIterator<Item = &'a [u8]> + use<'a>> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (own, rest) = line.split_at_checked(colon)?;
    is_called(own, name).then(|| {
        let needs = rest.split(|byte| matches!(byte, b':' | b' '));
        let needs = needs.filter(|word| !word.is_empty());
        core::iter::once(own).chain(needs)
    })
}

/// Returns true if the file `path` is the module `name`; `-` and `_` are
/// equal.
fn is_called(path: &[u8], name: &[u8]) -> bool {
    let file = crate::text::basename(path);
    let fold = |byte: &u8| if *byte == b'-' { b'_' } else { *byte };
    match file.split_at_checked(name.len()) {
        Some((stem, end)) => {
            end.starts_with(b".ko")
                && stem.iter().map(fold).eq(name.iter().map(fold))
        }
        None => false,
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn lines_of_both_files() {
        let line = b" softdog soft_margin=5 nowayout=1 \r";
        let module = Module::parse(line).unwrap();
        assert_eq!(module.name, b"softdog");
        assert_eq!(module.parameters, b"soft_margin=5 nowayout=1");
        for line in [&b""[..], b"# x", b"; x", b"  "] {
            assert_eq!(Module::parse(line), None);
        }
        let dep = b"kernel/drivers/a-b.ko.xz: kernel/c.ko.xz kernel/d.ko.xz";
        let all: Vec<&[u8]> = files(dep, b"a_b").unwrap().rev().collect();
        let order: [&[u8]; 3] = [
            b"kernel/d.ko.xz",
            b"kernel/c.ko.xz",
            b"kernel/drivers/a-b.ko.xz",
        ];
        assert_eq!(all, order);
        assert!(files(dep, b"a").is_none() && files(dep, b"c").is_none());
        assert_eq!(files(b"x/only.ko:", b"only").unwrap().count(), 1);
        assert!(files(b"no colon", b"no").is_none());
    }
}
