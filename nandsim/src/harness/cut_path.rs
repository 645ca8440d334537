//! A cut, and the cuts that follow it: `17:prefix:0:204`, `17:before/recovery:3:erase-bits:1`.

use std::fmt;
use std::str::FromStr;

use super::Act;
use crate::cut::{Cut, ParseCutError};

/// Where the power fails: in the work, and perhaps again in what is done on what that left.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CutPath {
    /// In the work.
    pub first: Cut,
    /// In what is done afterwards, each on what the one before it left.
    pub then: Vec<(Act, Cut)>,
}

impl CutPath {
    /// The same with one more cut.
    #[must_use]
    pub fn and(&self, act: Act, cut: Cut) -> Self {
        Self { first: self.first, then: [&self.then[..], &[(act, cut)]].concat() }
    }
}

impl From<Cut> for CutPath {
    fn from(first: Cut) -> Self {
        Self { first, then: Vec::new() }
    }
}

impl fmt::Display for CutPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        self.then.iter().try_for_each(|(act, cut)| write!(f, "/{}:{cut}", act.name()))
    }
}

impl FromStr for CutPath {
    type Err = ParseCutError;

    fn from_str(text: &str) -> Result<Self, ParseCutError> {
        let mut cuts = text.split('/');
        let first = cuts.next().unwrap_or_default().parse()?;
        let then = cuts.map(|part| {
            let (act, cut) = part.split_once(':').ok_or_else(|| ParseCutError::of(text))?;
            Ok((Act::named(act).ok_or_else(|| ParseCutError::of(text))?, cut.parse()?))
        });
        Ok(Self { first, then: then.collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_a_path() {
        for text in
            ["17:before", "17:prefix:0:204/recovery:3:erase-bits:1", "0:before/retry:1:before/recovery:2:cleanmarker"]
        {
            assert_eq!(text.parse::<CutPath>().unwrap().to_string(), text);
        }
        for wrong in ["", "17", "17:before/", "17:before/3:before", "17:before/later:3:before"] {
            assert!(wrong.parse::<CutPath>().is_err(), "{wrong}");
        }
    }
}
