//! `nandsim torture`.

use std::io::{self, Write};
use std::str::FromStr;

use clap::ValueEnum;
use nandsim::validate::Row;
use nandsim::{CutPath, Report, SecondCuts, Tier, Token, Torture, cuts_sampled_up_to, cuts_up_to};

use super::effort::{Cuts, parse_cuts, parse_threads, threads};
use super::prepare::Setting;
use super::publish::{Publish, Results};
use super::setup::Setup;
use super::{Outcome, damage, outcome, prepare, progress, replay, show};

/// Traces with more cuts than this are sampled unless all are asked for.
const MANY_CUTS: usize = 2_000_000;
/// Cuts of a sample.
const SAMPLE_CUTS: usize = 2000;

#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(super) struct Args {
    #[command(flatten)]
    setup: Setup,

    /// Cuts: `all`, or about so many, up to twice that with tiers 2 and 3 [default: all, or 2000 where there are over two million]
    #[arg(long, value_name = "all|N", value_parser = parse_cuts)]
    pub(super) cuts: Option<Cuts>,

    /// Cuts of this tier and those before it: 1 what any update must survive, 2 also cells that read differently each time,
    /// 3 also what is beyond any datasheet (see `nandsim faults`)
    #[arg(long, value_name = "N", default_value = "1", value_parser = Tier::from_str)]
    tier: Tier,

    /// More cuts in recovery and in the update done again: on all states (for small flash), or a few on some [default:
    /// some, none where the update programs over 4 MiB]
    #[arg(long, value_name = "WHICH")]
    second_cuts: Option<Second>,

    /// Try one cut only, named as in a report, and tell what each reader sees
    #[arg(long, value_name = "CUT", conflicts_with_all = ["cuts", "json"])]
    replay: Option<CutPath>,

    #[command(flatten)]
    publish: Publish,

    /// Threads [default: one for each core]
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    threads: Option<usize>,

    /// Print the report as one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Second {
    None,
    Some,
    All,
}

impl From<Second> for SecondCuts {
    fn from(second: Second) -> Self {
        match second {
            Second::None => Self::None,
            Second::Some => Self::Some,
            Second::All => Self::All,
        }
    }
}

pub(super) fn run(args: &Args) -> Outcome {
    let setting = prepare::setting(&args.setup)?;
    let mut torture = setting.record()?;
    let scenario = &setting.scenario;
    if let Some(second) = args.second_cuts {
        torture.plan.second = second.into();
    }
    if let Some(path) = &args.replay {
        let token = Token::new(scenario, &torture, path.clone());
        token.check(&torture)?;
        return replay::tell(&torture, &token);
    }
    args.publish.begin()?;
    let threads = threads(args.threads);
    let report = try_cuts(&torture, args.tier, args.cuts, threads);
    let token = |cut: &CutPath| Token::new(scenario, &torture, cut.clone());
    let printed = match args.json {
        true => serde_json::to_string(&show::Json::new(&setting, &torture, &report, threads, &token))? + "\n",
        false => in_words(&setting, &torture, &report, threads),
    };
    let printed = write!(io::stdout(), "{printed}");
    if let Some(failure) = report.failures.first() {
        eprintln!("nandsim: cut {}: {}", failure.cut, failure.what);
        eprintln!("nandsim: replay it with: {}", replay::command(&token(&failure.cut), &args.setup.given));
    }
    let published = args.publish.write(&Results {
        torture: &torture,
        setting: &setting,
        setup: &args.setup,
        rows: &Row::of_cuts(&report, show::class(&torture)),
        not_tried: show::not_tried(&report.coverage),
        failures: report.failures.iter().map(|failure| (&failure.cut, failure.what.as_str())).collect(),
        token: &token,
        token_of: &|wrong| wrong.cut.as_ref().map(token),
    });
    outcome(report.counts.is_fine(), published.and(printed.map_err(Into::into)))
}

fn in_words(setting: &Setting, torture: &Torture, report: &Report, threads: usize) -> String {
    let warning = damage::warning(&setting.damage).map_or(String::new(), |warning| warning + "\n");
    format!("{warning}size of the flash: {}\n{}", setting.size_from.words(), show::report(torture, report, threads))
}

/// Tries the cuts asked for, or as many as is reasonable.
pub(super) fn try_cuts(torture: &Torture, tier: Tier, cuts: Option<Cuts>, threads: usize) -> Report {
    let all = || cuts_up_to(&torture.trace, tier);
    let cuts = cuts.unwrap_or_else(|| match all().nth(MANY_CUTS) {
        None => Cuts::All,
        Some(_) => Cuts::Sample(SAMPLE_CUTS),
    });
    let bar = progress::bar("cuts");
    match cuts {
        Cuts::All => {
            bar.set_length(all().count() as u64);
            torture.run(all(), threads, &|n| bar.inc(n))
        }
        Cuts::Sample(n) => {
            let sample = cuts_sampled_up_to(&torture.trace, tier, n, torture.seed);
            bar.set_length(sample.len() as u64);
            torture.run(sample.into_iter(), threads, &|n| bar.inc(n))
        }
    }
}
