//! Reads the tables of the sources (capacities, families of programs), and
//! merges those of board files.

/// Returns the lines of src/capacities.txt: name, default, minimum, maximum,
/// meaning.
pub fn capacities() -> Vec<[&'static str; 5]> {
    include_str!("../../../src/capacities.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut rest = line;
            let mut word = || {
                rest = rest.trim_start();
                let end = rest.find(' ')?;
                let (word, tail) = rest.split_at(end);
                rest = tail;
                Some(word)
            };
            let words = [word()?, word()?, word()?, word()?];
            Some([words[0], words[1], words[2], words[3], rest.trim()])
        })
        .collect()
}

/// Returns the lines of a table without its comments, split into words.
pub fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_whitespace().collect())
}

/// Returns the families of programs in src/families.txt, each with the
/// families one of which it needs, if it needs one.
pub fn families() -> Vec<(&'static str, Vec<&'static str>)> {
    rows(include_str!("../../../src/families.txt"))
        .map(|row| {
            let needs = row[1].split('|').filter(|need| *need != "-");
            (row[0], needs.collect())
        })
        .collect()
}

/// Merges `other` into a table; nested tables are merged key by key.
pub fn lay_over(table: &mut toml::Table, other: &toml::Table) {
    for (key, value) in other {
        match (table.get_mut(key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => {
                lay_over(below, above);
            }
            _ => {
                table.insert(key.clone(), value.clone());
            }
        }
    }
}
