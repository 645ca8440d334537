//! How a state is judged, as a word.

use std::fmt;
use std::str::FromStr;

use super::{ParseError, number};

/// How a state is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Mount it read-only and walk the tree.
    ReadOnly,
    /// Mount it for writing, walk, work in it and undo the work, then mount it read-only and walk again.
    ReadWrite,
    /// Like [`Mode::ReadWrite`], but write so much that every eraseblock is filled, cleaned and erased.
    Heavy,
    /// Let a file system grow old in it, then list it ([`crate::manifest`]), and the copies taken on the way.
    Age(Age),
    /// Let the kernel and the library write in turns.
    Alternate(Alternate),
}

const MODES: [(Mode, &str); 3] = [(Mode::ReadOnly, "ro"), (Mode::ReadWrite, "rw"), (Mode::Heavy, "heavy")];

/// How the kernel and the library write in turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Alternate {
    /// What is done follows from this number.
    pub seed: u32,
    /// How many turns each of them has.
    pub rounds: u32,
}

/// How a file system grows old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Age {
    /// What is done follows from this number.
    pub seed: u32,
    /// It ends when the kernel has erased so many times as many eraseblocks as there are.
    pub turns: u32,
    /// Number of copies of the flash to take on the way, as power cuts would leave it.
    pub cuts: u32,
    /// What the kernel compresses with.
    pub compressor: Compressor,
}

impl Age {
    /// What the results of a copy are called.
    pub fn cut_name(case: &str, number: u32) -> String {
        format!("{case}/cut{number}")
    }
}

/// Which compressor the kernel is told to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compressor {
    /// Left to it: the first of LZO, zlib and rtime that makes the data smaller.
    Any,
    /// None.
    None,
    /// zlib.
    Zlib,
    /// LZO.
    Lzo,
    /// Another one at each mount.
    Turns,
}

const COMPRESSORS: [(Compressor, &str); 5] = [
    (Compressor::Any, "any"),
    (Compressor::None, "none"),
    (Compressor::Zlib, "zlib"),
    (Compressor::Lzo, "lzo"),
    (Compressor::Turns, "turns"),
];

impl Compressor {
    /// The option for a case's mount of that number.
    pub fn mount_option(self, mount: u32) -> Option<&'static str> {
        match self {
            Self::Any => None,
            Self::None => Some("compr=none"),
            Self::Zlib => Some("compr=zlib"),
            Self::Lzo => Some("compr=lzo"),
            Self::Turns => [Self::Any, Self::Zlib, Self::None, Self::Lzo][mount as usize % 4].mount_option(mount),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Alternate(Alternate { seed, rounds }) = self {
            return write!(f, "alternate:{seed}:{rounds}");
        }
        if let Self::Age(age) = self {
            let compressor =
                COMPRESSORS.iter().find(|(known, _)| *known == age.compressor).map_or("?", |(_, word)| word);
            return write!(f, "age:{}:{}:{}:{compressor}", age.seed, age.turns, age.cuts);
        }
        f.write_str(MODES.iter().find(|(mode, _)| mode == self).map_or("?", |(_, word)| word))
    }
}

impl FromStr for Mode {
    type Err = ParseError;

    fn from_str(word: &str) -> Result<Self, ParseError> {
        let plain = MODES.iter().find(|(_, known)| *known == word).map(|(mode, _)| *mode);
        plain.or_else(|| age(word)).or_else(|| alternate(word)).ok_or_else(|| ParseError::new("mode", word))
    }
}

fn alternate(word: &str) -> Option<Mode> {
    let words: Vec<&str> = word.split(':').collect();
    let ["alternate", seed, rounds] = words[..] else { return None };
    Some(Mode::Alternate(Alternate { seed: number(seed)?, rounds: number(rounds)? }))
}

fn age(word: &str) -> Option<Mode> {
    let words: Vec<&str> = word.split(':').collect();
    let ["age", seed, turns, cuts, compressor] = words[..] else { return None };
    Some(Mode::Age(Age {
        seed: number(seed)?,
        turns: number(turns)?,
        cuts: number(cuts)?,
        compressor: COMPRESSORS.iter().find(|(_, known)| *known == compressor).map(|(compressor, _)| *compressor)?,
    }))
}
