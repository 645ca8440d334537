//! What commands that read say of damage that they pass over, as Linux does: the tree that they show may not be the one
//! that was written last.

use jffs2_tx::check::{Code, Fate, Finding, Severity, check_names};

use crate::failure::{Failure, complain};
use crate::image::Image;
use crate::show;

/// Most findings that are said; `check` lists them all.
const MAX_SAID: usize = 20;

/// Says what is lost, or may be, at `path` and below, above it, or nobody knows where; how much that is. What has one of
/// the codes `said` the command says itself.
pub(crate) fn say(image: &Image, path: &[u8], said: &[Code]) -> Result<usize, Failure> {
    let concerns = |finding: &&Finding| {
        finding.severity > Severity::Note
            && matches!(finding.fate, Fate::Lost | Fate::Unknown)
            && !said.contains(&finding.code)
            && finding.path.as_deref().is_none_or(|other| is_at_or_below(other, path) || is_at_or_below(path, other))
    };
    let findings = check_names(&image.flash, &image.index)?;
    let mut count = 0;
    for finding in findings.iter().filter(concerns) {
        count += 1;
        if count <= MAX_SAID {
            let path = finding.path.as_deref().map(|path| format!("{}: ", show::path(path))).unwrap_or_default();
            let at = finding.offset.map(|offset| format!("at {offset:#x}: ")).unwrap_or_default();
            complain(&format!("{path}{at}{}", finding.text));
        }
    }
    if count > MAX_SAID {
        complain(&format!("{} more places of damage (see check)", count - MAX_SAID));
    }
    Ok(count)
}

fn is_at_or_below(path: &[u8], dir: &[u8]) -> bool {
    dir.is_empty() || path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}
