//! Names that went with damaged dirents.

use alloc::{format, string::String, vec, vec::Vec};

use super::tree::Checker;
use super::{Code, Finding};
use crate::error::ReadError;
use crate::flash::Flash;
use crate::scan::{Held, Suspect, damaged_name};
use crate::wire::{DIRENT_SIZE, MAX_NAME};

impl<F: Flash> Checker<'_, F> {
    /// What the damaged dirents of a directory would have said.
    pub(super) fn check_lost_names(&mut self, path: &[u8], dir: u32) -> Result<(), ReadError<F::Error>> {
        for node in self.index.suspects(dir) {
            if let Held::Name { target, len } = node.held {
                let name = self.damaged_name(node, len)?;
                self.found.extend(self.lost_name(path, node, target, name.as_deref()));
            }
        }
        Ok(())
    }

    /// `None` if nothing is lost: a newer dirent says what the name leads to.
    fn lost_name(&self, path: &[u8], node: &Suspect, target: u32, name: Option<&[u8]>) -> Option<Finding> {
        let Some(name) = name else {
            let text = "damaged dirent: one of the names in here may be lost";
            return Some(Finding::new(Code::LostName, text.into()).about(path, node.ino).at(node.at));
        };
        let shown = self.index.find(node.ino, name);
        if shown.is_some_and(|shown| shown.version >= node.version) {
            return None;
        }
        let shown = shown.filter(|shown| shown.ino != 0);
        let (code, text) = match (target, shown) {
            // Nothing is left that it would delete.
            (0, None) => return None,
            (0, Some(_)) => (Code::LostDeletion, String::from("damaged deletion: the name shows again")),
            (_, None) => (Code::LostName, format!("damaged dirent: the name, of inode {target}, is lost")),
            (_, Some(shown)) if shown.ino == target => return None,
            (_, Some(shown)) => {
                (Code::LostName, format!("damaged dirent: the name leads to inode {}, not {target}", shown.ino))
            }
        };
        let path = if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() };
        Some(Finding::new(code, text).about(&path, target).at(node.at))
    }

    fn damaged_name(&self, node: &Suspect, len: u8) -> Result<Option<Vec<u8>>, ReadError<F::Error>> {
        let most = (self.index.geometry().size() - node.at) as usize;
        let mut bytes = vec![0; most.min(DIRENT_SIZE + MAX_NAME + 1)];
        self.flash.read(node.at, &mut bytes).map_err(|error| ReadError::Device { offset: node.at, error })?;
        Ok(damaged_name(self.index.rules().endian, &bytes, len))
    }
}
