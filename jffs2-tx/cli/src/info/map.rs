//! The flash on one screen: a character for each eraseblock, or for several.

use std::fmt;

use jffs2_tx::dump::Space;

const COLUMNS: usize = 64;
/// Rows, at most.
const ROWS: usize = 16;

/// Eraseblocks as characters.
#[derive(Debug, Default)]
pub(super) struct Map {
    /// Eraseblocks that one character stands for.
    each: u32,
    cells: Vec<Space>,
    added: u32,
}

impl Map {
    /// A map for so many eraseblocks.
    pub(super) fn new(blocks: u32) -> Self {
        Self { each: blocks.div_ceil((COLUMNS * ROWS) as u32).max(1), cells: Vec::new(), added: 0 }
    }

    /// Adds the next eraseblock.
    pub(super) fn add(&mut self, space: &Space) {
        if self.added.is_multiple_of(self.each) {
            self.cells.push(Space::default());
        }
        self.added += 1;
        if let Some(cell) = self.cells.last_mut() {
            cell.add(space);
        }
    }
}

/// The worst that is there, otherwise the live part in tenths.
fn letter(space: &Space) -> char {
    match space {
        Space { torn: 1.., .. } => '!',
        Space { hidden: 1.., .. } => 'h',
        Space { bad: 1.., .. } => 'B',
        Space { live: 0, obsolete: 0, .. } => '.',
        // A cleanmarker is all that is live in a free eraseblock.
        Space { live, obsolete: 0, .. } if *live <= 64 => '.',
        _ => char::from_digit((space.live * 10 / space.total().max(1)).min(9) as u32, 10).unwrap_or('9'),
    }
}

impl fmt::Display for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = if self.each == 1 { "an eraseblock".into() } else { format!("{} eraseblocks", self.each) };
        writeln!(f, "map             {each} a character: 0-9 tenths live, . free, h hidden, ! torn, B bad")?;
        for (at, row) in self.cells.chunks(COLUMNS).enumerate() {
            let first = at * COLUMNS * self.each as usize;
            writeln!(f, "{first:>14}  {}", row.iter().map(letter).collect::<String>())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_eraseblocks_to_a_character_as_it_takes() {
        let mut map = Map::new(2048);
        for at in 0..2048 {
            let used = Space { live: 50, obsolete: 50, ..Space::default() };
            map.add(&if at < 128 { used } else { Space { free: 100, ..Space::default() } });
        }
        let shown = map.to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 1 + ROWS);
        assert!(lines[0].contains("2 eraseblocks a character"), "{}", lines[0]);
        assert_eq!(lines[1], format!("{:>14}  {}", 0, "5".repeat(COLUMNS)));
        assert_eq!(lines[2], format!("{:>14}  {}", 128, ".".repeat(COLUMNS)));
    }

    #[test]
    fn the_worst_shows() {
        let space = Space { live: 99, torn: 1, hidden: 1, ..Space::default() };
        assert_eq!(letter(&space), '!');
        assert_eq!(letter(&Space { torn: 0, ..space }), 'h');
        assert_eq!(letter(&Space { torn: 0, hidden: 0, ..space }), '9');
        assert_eq!(letter(&Space { live: 12, free: 88, ..Space::default() }), '.');
    }
}
