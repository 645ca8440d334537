//! `nandsim replay`: one cut, looked at closely.

use std::io::{self, Write};

use nandsim::{Token, Torture};

use super::setup::GivenArgs;
use super::{Outcome, prepare, show};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Names the test and the cut, as a report does
    token: Token,

    /// The trees of the token, if it says `tree=given`
    #[command(flatten)]
    given: GivenArgs,
}

pub(super) fn run(args: &Args) -> Outcome {
    let torture = args.token.record(prepare::given(&args.given)?.as_ref())?;
    tell(&torture, &args.token)
}

/// Tries the cut and tells what each reader sees at each stage.
pub(super) fn tell(torture: &Torture, token: &Token) -> Outcome {
    let path = &token.cut;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", show::flash(torture))?;
    writeln!(out, "cut {path} (seed {}), in {}", torture.seed, show::operation(torture, path.first))?;
    writeln!(out, "token {token}")?;
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

/// What replays a cut; the trees from outside must be given again.
pub(super) fn command(token: &Token, given: &GivenArgs) -> String {
    let options = [("--old", &given.old), ("--image", &given.image), ("--new", &given.new)];
    let given = options.into_iter().filter_map(|(option, path)| Some((option, path.as_ref()?)));
    let given = given.map(|(option, path)| format!(" {option} {}", quoted(&path.to_string_lossy())));
    format!("nandsim replay {}{}", quoted(&token.to_string()), given.collect::<String>())
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
