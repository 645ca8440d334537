//! One cut, looked at closely.

use std::io::{self, Write};

use nandsim::{Cut, Torture, Verdict};

use super::{Outcome, show};

/// Tries the cut and tells what each reader sees at each stage.
pub(super) fn run(torture: &Torture, cut: Cut) -> Outcome {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", show::flash(torture))?;
    writeln!(out, "cut {cut} (seed {}), in {}", torture.seed, show::operation(torture, cut))?;
    let mut lines = Vec::new();
    let verdict = torture.examine(cut, &mut |stage, seen| {
        lines.extend(seen.named().map(|(reader, verdict)| format!("{stage}, {reader}: {verdict}")));
    });
    for line in lines {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "verdict: {verdict}")?;
    Ok(matches!(verdict, Verdict::Old | Verdict::New))
}

/// This command with what replays a cut; later options win.
pub(super) fn command(seed: u64, cut: Cut) -> String {
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
