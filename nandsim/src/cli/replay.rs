//! One cut, looked at closely.

use std::io::{self, Write};

use nandsim::{CutPath, Torture};

use super::{Outcome, show};

/// Tries the cut and tells what each reader sees at each stage.
pub(super) fn run(torture: &Torture, path: &CutPath) -> Outcome {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", show::flash(torture))?;
    writeln!(out, "cut {path} (seed {}), in {}", torture.seed, show::operation(torture, path.first))?;
    if torture.state(path).is_none() {
        anyhow::bail!("there is nothing to cut at {path}: the update has {} operations", torture.trace.ops.len());
    }
    let mut lines = Vec::new();
    let wrong = torture.examine(path, &mut |stage, seen| {
        lines.extend(seen.readers.iter().map(|(reader, verdict)| format!("{stage}, {reader}: {verdict}")));
    });
    for line in lines {
        writeln!(out, "{line}")?;
    }
    match &wrong {
        None => writeln!(out, "nothing is wrong")?,
        Some((at, what)) => writeln!(out, "FAILED at {at}: {what}")?,
    }
    Ok(wrong.is_none())
}

/// This command with what replays a cut; later options win.
pub(super) fn command(seed: u64, cut: &CutPath) -> String {
    let mut words: Vec<String> = std::env::args().filter(|arg| arg != "--json").map(|arg| quoted(&arg)).collect();
    words.push(format!("--seed {seed} --replay {cut}"));
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_for_the_shell() {
        assert_eq!((quoted("a/b-c=1").as_str(), quoted("it's").as_str()), ("a/b-c=1", "'it'\\''s'"));
    }
}
